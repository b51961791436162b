"""Make docs/images/activations.png: the curve and the derivative of every activation of one number.

python scripts/draw_activations.py
"""

from pathlib import Path

import keras
import matplotlib.pyplot as plt
import numpy as np
from keras import ops

from keras_ssl import layers

FILE = Path(__file__).resolve().parents[1] / "docs" / "images" / "activations.png"
KERAS = keras.activations
FUNCTIONS = {
    "ReLU": KERAS.relu,
    "ReLU6": KERAS.relu6,
    "LeakyReLU": KERAS.leaky_relu,
    "RReLU (mean)": layers.RReLU(),
    "ELU": KERAS.elu,
    "CELU, alpha = 2": lambda x: KERAS.celu(x, 2.0),
    "SELU": KERAS.selu,
    "GELU": KERAS.gelu,
    "SiLU (Swish)": KERAS.silu,
    "Swish, beta = 3": layers.Swish(3.0),
    "hard Swish": KERAS.hard_silu,
    "Mish": KERAS.mish,
    "sigmoid": KERAS.sigmoid,
    "log-sigmoid": KERAS.log_sigmoid,
    "hard sigmoid": KERAS.hard_sigmoid,
    "sparse sigmoid": KERAS.sparse_sigmoid,
    "tanh": KERAS.tanh,
    "tanh shrink": KERAS.tanh_shrink,
    "hard tanh": KERAS.hard_tanh,
    "HardTanh(-2, 0.5)": layers.HardTanh(-2, 0.5),
    "softplus": KERAS.softplus,
    "Softplus(3)": layers.Softplus(3.0),
    "sparse plus": KERAS.sparse_plus,
    "squareplus": KERAS.squareplus,
    "softsign": KERAS.softsign,
    "soft shrink": KERAS.soft_shrink,
    "hard shrink": KERAS.hard_shrink,
    "threshold(1, -1)": lambda x: KERAS.threshold(x, 1.0, -1.0),
}


def main() -> None:
    """Draw a panel for each activation."""
    # no point at a kink or a jump, where there is no derivative
    x, step = np.linspace(-4, 4, 400), 1e-3
    figure, panels = plt.subplots(4, 7, figsize=(14, 8), sharex=True, layout="constrained")
    for panel, (name, function) in zip(panels.flat, FUNCTIONS.items(), strict=True):
        ends = [ops.convert_to_numpy(function(ops.convert_to_tensor(x + d))) for d in (-step, step)]
        y = 0.5 * (ends[0] + ends[1])
        slope = (ends[1] - ends[0]) / (2 * step)
        jumps = np.abs(slope) > 20
        panel.plot(x, np.where(jumps, np.nan, y), label="activation")
        panel.plot(x, np.where(jumps, np.nan, slope), "--", label="derivative")
        panel.set_title(name, fontsize=9)
        panel.tick_params(labelsize=7)
        panel.grid(alpha=0.3)
    panels[0, 0].legend(fontsize=7)
    figure.savefig(FILE, dpi=70)


if __name__ == "__main__":
    main()
