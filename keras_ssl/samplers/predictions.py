"""What a denoiser may predict, and what that says of the data and of the noise.

With x_t = a x_0 + s ε, a denoiser predicts "epsilon", ε; "x0", x_0; "v", a ε - s x_0; or
"velocity", ε - x_0. If a² + s² = 1, as in diffusion, each of the first three gives the others; the
last is for straight paths, a + s = 1.
"""

from typing import Any

PREDICTIONS = ("epsilon", "x0", "v")
VELOCITY = "velocity"


def target_of(prediction: str, x: Any, noise: Any, a: Any, s: Any) -> Any:
    """Return what a denoiser should predict.

    Args:
        prediction: what it predicts.
        x: the data, x_0.
        noise: ε.
        a: factor of the data.
        s: factor of the noise.

    Example:

    >>> from keras_ssl import samplers
    >>> round(samplers.target_of("v", x=1.0, noise=0.5, a=0.8, s=0.6), 3)
    -0.2
    """
    if prediction == "epsilon":
        return noise
    if prediction == "x0":
        return x
    return a * noise - s * x if prediction == "v" else noise - x


def data_and_noise(prediction: str, output: Any, noisy: Any, a: Any, s: Any) -> tuple[Any, Any]:
    """Return x_0 and ε as a denoiser's output implies them.

    Args:
        prediction: what the denoiser predicts.
        output: its output.
        noisy: its input, x_t.
        a: factor of the data.
        s: factor of the noise.

    Example:

    >>> from keras_ssl import samplers
    >>> x, noise = samplers.data_and_noise("v", output=-0.2, noisy=1.1, a=0.8, s=0.6)
    >>> round(x, 3), round(noise, 3)
    (1.0, 0.5)
    """
    if prediction == "epsilon":
        return (noisy - s * output) / a, output
    if prediction == "x0":
        return output, (noisy - a * output) / s
    if prediction == "v":
        return a * noisy - s * output, s * noisy + a * output
    return noisy - s * output, noisy + a * output
