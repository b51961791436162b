"""Measure how reliably the small trainers of the tests learn.

    python scripts/learning_margins.py                      # all cases
    python scripts/learning_margins.py --cases BYOL DINO    # some of them

The contract of the trainers requires that training decreases a loss by `Case.decrease`. Here each
case is trained with five seeds, with oneDNN's kernels and without: CPUs differ in which they use.
The script prints for each case a loss of the first epoch, the smallest and the largest decrease of
the ten runs, the decrease that the test requires, and the ratio of the smallest to the required
one. The exit code is 1 if a ratio is below 1.5.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SPARE = 1.5


def measure(names: list[str], seeds: list[int]) -> None:
    """Train the cases in this process; print a line of JSON for each run."""
    sys.path.insert(0, str(ROOT))
    from tests.trainers.cases import CASES
    from tests.trainers.runs import learn

    for name in names or CASES:
        trainer = None
        for seed in seeds:
            trainer, history = learn(name, seed, trainer)
            case = CASES[name]
            line = {
                "case": name,
                "seed": seed,
                "decrease": case.decrease_in(history),
                "required": case.decrease,
                "losses": history[case.decreasing_loss],
            }
            print(json.dumps(line), flush=True)


def runs_of(arguments: argparse.Namespace) -> list[dict]:
    """Run `measure` in one process for each setting of oneDNN, since it is read at start-up."""
    found = []
    for setting in arguments.onednn:
        environment = {
            **os.environ,
            "TF_ENABLE_ONEDNN_OPTS": setting,
            "CUDA_VISIBLE_DEVICES": "-1",
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "KERAS_BACKEND": "tensorflow",
        }
        command = [sys.executable, __file__, "--here", "--seeds", *map(str, arguments.seeds)]
        command += ["--cases", *arguments.cases] if arguments.cases else []
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as run:
            for line in run.stdout:
                found.append({**json.loads(line), "onednn": setting})
                if arguments.log:
                    with arguments.log.open("a") as log:
                        print(json.dumps(found[-1]), file=log)
        if run.returncode:
            raise SystemExit(f"{' '.join(command)} failed with code {run.returncode}.")
    return found


def main() -> int:
    """Measure and print a table; return 1 if the margin of a case is too thin."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", nargs="*", help="names of cases; all by default")
    parser.add_argument("--seeds", nargs="*", type=int, default=[1, 2, 3, 4, 5])
    parser.add_argument("--onednn", nargs="*", default=["0", "1"], help="TF_ENABLE_ONEDNN_OPTS")
    parser.add_argument("--log", type=Path, help="a file for the losses of all epochs, as JSON")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.here:
        measure(arguments.cases, arguments.seeds)
        return 0

    runs = runs_of(arguments)
    print(f"{'case':24}{'first loss':>11}{'decreases':>20}{'required':>10}{'ratio':>7}")
    too_thin = False
    for name in dict.fromkeys(run["case"] for run in runs):
        own = [run for run in runs if run["case"] == name]
        decreases = [run["decrease"] for run in own]
        first, required = own[0]["losses"][0], own[0]["required"]
        ratio = min(decreases) / required if required else float("nan")
        spread = f"{min(decreases):.3f} to {max(decreases):.3f}"
        print(f"{name:24}{first:11.3f}{spread:>20}{required:10.3f}{ratio:7.2f}")
        too_thin |= not ratio >= SPARE
    return int(too_thin)


if __name__ == "__main__":
    sys.exit(main())
