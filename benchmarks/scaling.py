"""Predict what SimCLR, DINO and MAE move, hold and reach on 8 to 4,096 devices.

    python benchmarks/scaling.py

prints the tables of docs/scaling.md as Markdown. All of it is prediction, by the formulas and
assumptions of `benchmarks/prediction/`; `benchmarks/worker_traffic.py` counts bytes.
"""

import argparse
from collections.abc import Iterable

from prediction.efficiency import efficiency, seconds_to_compute
from prediction.hardware import SYSTEMS
from prediction.memory import memory
from prediction.simclr import simclr_resnet50
from prediction.traffic import batch_where_gathering_matters, traffic
from prediction.workloads import Workload, dino_vit_small, mae_vit_base

DEVICES = (8, 64, 512, 4096)
MB, GB = 1e6, 1e9


def row(*cells: object) -> str:
    """A line of a Markdown table."""
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def table(head: Iterable[str], rows: Iterable[Iterable[object]], text_columns: int = 1) -> None:
    """Print a Markdown table; all but the first columns hold numbers."""
    head = list(head)
    print(row(*head))
    print(row(*["---"] * text_columns, *["---:"] * (len(head) - text_columns)))
    for cells in rows:
        print(row(*cells))
    print()


def print_workloads(workloads: list[Workload]) -> None:
    print("### One image\n")
    table(
        ["", "weights", "GFLOP a step", "activations, MB", "numbers gathered", "batch norms"],
        (
            (
                one.name,
                f"{one.parameters / 1e6:.1f} M",
                f"{one.operations / 1e9:.1f}",
                f"{one.kept_bytes / MB:.1f}",
                one.gathered_per_image,
                one.normalizations,
            )
            for one in workloads
        ),
    )


def print_traffic(workloads: list[Workload], images: int) -> None:
    print(f"### MB that a device sends in one step, {images} images per device\n")
    rows = []
    for one in workloads:
        for devices in DEVICES:
            sent = traffic(one, devices, images)
            parts = (sent.gradient, sent.gathered, sent.normalization, sent.other, sent.total)
            rows.append(
                (
                    one.name,
                    f"{devices:,}",
                    f"{devices * images:,}",
                    *(f"{part / MB:.2f}" for part in parts),
                    sent.collectives,
                )
            )
    head = ["", "devices", "batch", "gradient", "gathered", "batch norm", "other", "all"]
    table([*head, "collectives"], rows)


def print_gathering(workload: Workload) -> None:
    print(f"### Global batch at which gathering matters, {workload.name}\n")
    table(
        ["gathered bytes / gradient's bytes", "global batch"],
        (
            (f"{ratio:.0%}", f"{batch_where_gathering_matters(workload, ratio):,.0f}")
            for ratio in (0.01, 0.1, 1.0)
        ),
    )


def print_memory(workloads: list[Workload], images: int, micro_batch: int, chunk: int) -> None:
    print(f"### GB that a device holds, {images} images per device\n")
    rows = []
    for one in workloads:
        ways = {"": {}}
        if one.kept_by_similarity:
            ways[f", chunks of {chunk}"] = {"chunk_size": chunk}
            ways[f", and micro-batches of {micro_batch}"] = {
                "chunk_size": chunk,
                "micro_batch": micro_batch,
            }
        # without gathered embeddings nothing depends on how many devices there are
        numbers = DEVICES if one.gathered_per_image else DEVICES[:1]
        for way, settings in ways.items():
            for devices in numbers:
                held = memory(one, devices, images, **settings)
                fixed = sum(held[key] for key in ("weights", "teacher", "gradients", "optimizer"))
                parts = (fixed, held["activations"], held["embeddings"], held["similarities"])
                total = sum(held.values())
                cells = (f"{part / GB:.2f}" for part in (*parts, total))
                label = f"{devices:,}" if len(numbers) > 1 else "any"
                rows.append((one.name + way, label, *cells))
    head = ["", "devices", "weights, gradients, optimizer", "activations", "embeddings"]
    table([*head, "similarities", "all"], rows)


def print_efficiency(workload: Workload, images: int) -> None:
    print(f"### Predicted efficiency, {workload.name}, {images} images per device\n")

    def cell(system, devices: int) -> str:
        both = [efficiency(workload, system, devices, images, overlapped=o) for o in (False, True)]
        return "" if None in both else f"{both[0]:.0%} / {both[1]:.0%}"

    table(
        ["", "ms to compute", *(f"{devices:,} devices" for devices in DEVICES)],
        (
            (
                system.name,
                f"{seconds_to_compute(workload, system, images) * 1e3:.0f}",
                *(cell(system, devices) for devices in DEVICES),
            )
            for system in SYSTEMS
        ),
    )


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, default=64, help="a device")
    parser.add_argument("--micro-batch", type=int, default=8, help="for gradient caching")
    parser.add_argument("--chunk-size", type=int, default=1024, help="for NT-Xent")
    arguments = parser.parse_args()
    workloads = [simclr_resnet50(), dino_vit_small(), mae_vit_base()]
    print_workloads(workloads)
    print_traffic(workloads, arguments.images)
    print_gathering(workloads[0])
    print_memory(workloads, arguments.images, arguments.micro_batch, arguments.chunk_size)
    for workload in workloads:
        print_efficiency(workload, arguments.images)


if __name__ == "__main__":
    main()
