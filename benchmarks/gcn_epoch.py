"""An epoch of training GCN on Cora and CiteSeer, and PyTorch Geometric's.

Two layers, 16 hidden features, dropout 0.5 before each, Adam at 0.01, weight decay 5e-4 on the
first layer, cross entropy of the 140 or 120 labelled nodes: the paper's settings. The whole graph
is one batch, so an epoch is one training step; nothing is evaluated. Ours is `fit` on sparse
features: as epochs of one step, as one epoch of many (the graph repeated), and with several steps a
call. Theirs has dense features, as its own example does, or sparse ones.

    taskset -c 0,1 python benchmarks/gcn_epoch.py
"""

import argparse
import dataclasses
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from measure import Peer, elapsed, interleave, machine, medians, print_machine, print_table

AIMS = {"cora": 15, "citeseer": 40}  # times faster than dense features
AIM_SPARSE = 1.0


def our_epochs(
    graph: Any, hidden: int, epochs: int, repeat: bool, steps_per_execution: int
) -> Callable:
    """Returns a function that trains for some epochs.

    Args:
        graph: with sparse features.
        hidden: features of the hidden layer.
        epochs: number of steps.
        repeat: whether all are one epoch to Keras.
        steps_per_execution: steps per call of TensorFlow.
    """
    import keras

    from keras_ssl import data, layers, networks

    prepared = dataclasses.replace(graph, a=layers.graph.GCNConv.preprocess(graph.a))
    step = data.single_graph(prepared, "train")
    model = networks.gcn(
        (hidden,),
        classes=int(graph.y.max()) + 1,
        normalize=False,
        kernel_regularizer=keras.regularizers.L2(2.5e-4),
        seed=0,
    )
    model.compile(
        keras.optimizers.Adam(0.01),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        steps_per_execution=steps_per_execution,
    )
    if repeat:
        return lambda: model.fit(step.repeat(), steps_per_epoch=epochs, verbose=0)
    return lambda: model.fit(step, epochs=epochs, verbose=0)


def write_graph(graph: Any, path: Path) -> None:
    """Writes what the peer needs."""
    x, a = graph.x.tocoo(), graph.a.tocoo()
    np.savez(
        path,
        x_indices=np.stack([x.row, x.col], 1).astype(np.int64),
        x_values=x.data.astype(np.float32),
        x_shape=np.array(x.shape),
        edge_index=np.stack([a.col, a.row]).astype(np.int64),
        y=graph.y,
        train=graph.splits["train"],
    )


def measure(name: str, peer: Peer, arguments: argparse.Namespace) -> dict[str, Any]:
    """Times both sides on one graph, prints and returns what was found."""
    from keras_ssl import data

    graph = data.load_graph(name)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"{name}.npz")
        write_graph(graph, path)
        peer.ask("set_up", path=str(path), hidden=arguments.hidden)

    epochs, many = arguments.epochs, arguments.steps_per_execution

    def ours(repeat: bool, steps_per_execution: int) -> Callable[[], float]:
        run = our_epochs(graph, arguments.hidden, epochs, repeat, steps_per_execution)
        return lambda: elapsed(run) / epochs

    def theirs(form: str, epochs: int) -> Callable[[], float]:
        return lambda: peer.ask("seconds", form=form, epochs=epochs)["seconds"]

    contenders = {
        "fit, epochs of one step": ours(False, 1),
        "fit, the graph repeated": ours(True, 1),
        f"the same, {many} steps per call": ours(True, many),
        "PyG, dense features": theirs("dense", max(1, epochs // 10)),
        "PyG, sparse COO features": theirs("sparse coo", epochs),
        "PyG, sparse CSR features": theirs("sparse csr", epochs),
    }
    seconds = interleave(contenders, repeats=arguments.repeats)
    middle = medians(seconds)
    print(f"\n{name}: {graph.nodes} nodes, {graph.a.nnz} entries, {graph.x.nnz} features stored")
    print_table(middle, per="PyG, dense features", unit="seconds an epoch")
    ours_best = middle[f"the same, {many} steps per call"]
    theirs_best = min(value for key, value in middle.items() if "sparse" in key)
    ratios = {
        "dense": middle["PyG, dense features"] / ours_best,
        "sparse": theirs_best / ours_best,
    }
    print(f"dense features: {ratios['dense']:.1f} times faster (aim: {AIMS[name]})")
    print(f"sparse features: {ratios['sparse']:.2f} times faster (aim: {AIM_SPARSE})")
    return {"seconds": seconds, "ratios": ratios}


def main() -> None:
    """Measures, prints, and writes JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--graphs", nargs="+", default=list(AIMS), choices=list(AIMS))
    parser.add_argument("--hidden", type=int, default=16)
    parser.add_argument("--epochs", type=int, default=100, help="a repeat")
    parser.add_argument("--steps-per-execution", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path, help="file to write the measurements to")
    arguments = parser.parse_args()
    with Peer("gcn_epoch_pyg.py") as peer:
        print_machine(peer)
        found = {name: measure(name, peer, arguments) for name in arguments.graphs}
    if arguments.json:
        report = {"machine": machine(), "settings": vars(arguments), **found}
        arguments.json.write_text(json.dumps(report, indent=2, default=str))


if __name__ == "__main__":
    main()
