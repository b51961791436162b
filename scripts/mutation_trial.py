"""Put small faults into the source, one at a time, and see whether the tests notice them.

A fault is a wrong sign, operator, comparison, axis, number or flag, or a statement left out, drawn
at random from all such places of the package. For each, a copy of the checkout with this one change
runs the tests that mention what the changed file defines, then, if these pass, those that mention
its direct users. What no test notices is printed as a patch line, to be read by a person: some of
these faults change nothing (a tile's size, a bound that is never met).

    python scripts/mutation_trial.py --count 100 --seed 0
    python scripts/mutation_trial.py --count 20 --under keras_ssl/losses --slow
"""

import argparse
import ast
import contextlib
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "keras_ssl"
OPERATORS = {ast.Add: "-", ast.Sub: "+", ast.Mult: "/", ast.Div: "*", ast.FloorDiv: "*"}
SYMBOLS = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.FloorDiv: "//"}
COMPARISONS = {
    ast.Lt: ("<", ">="),
    ast.LtE: ("<=", ">"),
    ast.Gt: (">", "<="),
    ast.GtE: (">=", "<"),
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.Is: ("is", "is not"),
    ast.IsNot: ("is not", "is"),
    ast.In: ("in", "not in"),
    ast.NotIn: ("not in", "in"),
}


class Mutants(ast.NodeVisitor):
    """All faults of one file, as (line, start, end, replacement) in its text."""

    def __init__(self, text):
        self.text, self.found = text, []
        lines = text.splitlines(keepends=True)
        # offsets of the ast are in bytes of UTF-8
        self.starts = [0]
        for line in lines:
            self.starts.append(self.starts[-1] + len(line.encode()))
        self.bytes = text.encode()
        self.visit(ast.parse(text))

    def span(self, node):
        return (
            self.starts[node.lineno - 1] + node.col_offset,
            self.starts[node.end_lineno - 1] + node.end_col_offset,
        )

    def add(self, node, start, end, replacement):
        self.found.append((node.lineno, start, end, replacement))

    def between(self, left, right, old, new):
        """Replace an operator that stands between two operands."""
        start, end = self.span(left)[1], self.span(right)[0]
        place = self.bytes[start:end].decode().find(old)
        if place >= 0:
            self.add(left, start + place, start + place + len(old), new)

    def visit_Raise(self, node):
        """Leave out the texts of errors."""

    def visit_FunctionDef(self, node):
        """Leave out annotations, and what only prints or describes."""
        if node.name in ("__repr__", "__str__"):
            return
        for default in (*node.args.defaults, *(one for one in node.args.kw_defaults if one)):
            self.visit(default)
        for statement in node.body:
            self.visit(statement)

    def visit_AnnAssign(self, node):
        if node.value:
            self.visit(node.value)

    def visit_Expr(self, node):
        if isinstance(node.value, ast.Call):
            self.add(node, *self.span(node), "pass")
        if not isinstance(node.value, ast.Constant):
            self.generic_visit(node)

    def visit_AugAssign(self, node):
        self.add(node, *self.span(node), "pass")
        self.generic_visit(node)

    def visit_BinOp(self, node):
        kind = type(node.op)
        string = any(
            isinstance(one, ast.JoinedStr) or isinstance(getattr(one, "value", None), str)
            for one in (node.left, node.right)
        )
        if kind in OPERATORS and not string:
            self.between(node.left, node.right, SYMBOLS[kind], OPERATORS[kind])
        self.generic_visit(node)

    def visit_UnaryOp(self, node):
        start, _ = self.span(node)
        if isinstance(node.op, (ast.USub, ast.Not)):
            length = 1 if isinstance(node.op, ast.USub) else len("not ")
            self.add(node, start, start + length, "")
        if not isinstance(node.operand, ast.Constant):
            self.generic_visit(node)

    def visit_Compare(self, node):
        if len(node.ops) == 1:
            self.between(node.left, node.comparators[0], *COMPARISONS[type(node.ops[0])])
        self.generic_visit(node)

    def visit_BoolOp(self, node):
        old, new = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
        self.between(node.values[0], node.values[1], old, new)
        self.generic_visit(node)

    def visit_Constant(self, node):
        value = node.value
        if isinstance(value, bool):
            self.add(node, *self.span(node), str(not value))
        elif isinstance(value, int):
            self.add(node, *self.span(node), str(value + 1))
        elif isinstance(value, float) and 1e-3 < abs(value) < 1e5:
            self.add(node, *self.span(node), repr(value * 1.5))

    def visit_keyword(self, node):
        value = node.value
        if node.arg == "training" and isinstance(value, ast.Name):
            self.add(value, *self.span(value), "False")
        if node.arg == "axis" and isinstance(value, (ast.UnaryOp, ast.Constant)):
            self.add(value, *self.span(value), "0" if ast.unparse(value) != "0" else "-1")
        else:
            self.generic_visit(node)

    def visit_JoinedStr(self, node):
        """Leave out texts."""


def sample(count, seed, under):
    """Draw faults: first the file, by the square root of its number of places, then the place."""
    files = {}
    for path in sorted((ROOT / under).rglob("*.py") if (ROOT / under).is_dir() else [ROOT / under]):
        found = Mutants(path.read_text()).found
        if found:
            files[path] = found
    draw, chosen = random.Random(seed), {}
    while len(chosen) < min(count, sum(map(len, files.values()))):
        (path,) = draw.choices(list(files), [len(found) ** 0.5 for found in files.values()])
        fault = draw.choice(files[path])
        chosen[path, fault] = None
    return list(chosen)


def names_of(path):
    """What a file defines for others to use."""
    tree = ast.parse(path.read_text())
    kinds = (ast.ClassDef, ast.FunctionDef)
    return {node.name for node in tree.body if isinstance(node, kinds)} | {path.stem}


def mentions(names, folder):
    """Python files of a folder that contain one of some names, with how often."""
    pattern = re.compile(rf"\b({'|'.join(map(re.escape, sorted(names)))})\b")
    found = {path: len(pattern.findall(path.read_text())) for path in sorted(folder.rglob("*.py"))}
    return {path: count for path, count in found.items() if count}


def suites(path):
    """Lists of test files for one changed file: those nearest to it, then those of its users."""
    inside = path.relative_to(ROOT / PACKAGE)
    names = names_of(path)
    tests = [one for one in mentions(names, ROOT / "tests") if one.name.startswith("test_")]
    near = list((ROOT / "tests" / inside.parent).glob("test_*.py"))
    tests.sort(key=lambda one: (one.stem != f"test_{path.stem}", one not in near))
    signatures = ROOT / "tests" / "test_signatures.py"
    first = [*[signatures] * signatures.exists(), path, *tests[:8]]
    users = set()
    for user in mentions(names, ROOT / PACKAGE):
        if user != path and user.stem != "__init__":
            users |= names_of(user)
    more = [*tests[8:], *near]
    if users:
        found = mentions(users, ROOT / "tests")
        more += sorted((one for one in found if one.name.startswith("test_")), key=found.get)[::-1]
    second = [one for one in dict.fromkeys(more) if one not in first]
    return first, second


def run(checkout, files, seconds, marker):
    """Run tests in a fork of this process, which has imported TensorFlow: 0 if all pass."""
    child = os.fork()
    if not child:
        os.setpgid(0, 0)
        signal.alarm(seconds)
        os.chdir(checkout)
        log = os.open(checkout / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 1), os.dup2(log, 2)
        sys.path.insert(0, str(checkout))
        arguments = ["-n", "0", "-q", "-x", "-p", "no:cacheprovider", "-m", marker, "--tb=line"]
        code = 1
        with contextlib.suppress(BaseException):
            import pytest

            code = int(pytest.main([*arguments, *map(str, files)]))
        os._exit(code)
    _, status = os.waitpid(child, 0)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(status)


def trial(path, fault, arguments):
    """Tell who notices a fault: a line of pytest's output, or None."""
    _, start, end, replacement = fault
    before = path.read_bytes()
    after = before[:start] + replacement.encode() + before[end:]
    compile(after, str(path), "exec")
    with tempfile.TemporaryDirectory() as folder:
        checkout = Path(folder)
        for one in ROOT.iterdir():
            if one.name == PACKAGE:
                shutil.copytree(one, checkout / PACKAGE, ignore=shutil.ignore_patterns("*.pyc"))
            elif not one.name.startswith("."):
                (checkout / one.name).symlink_to(one)
        # a copy, so that the paths of tests lie in the changed checkout
        (checkout / "tests").unlink()
        shutil.copytree(ROOT / "tests", checkout / "tests")
        (checkout / path.relative_to(ROOT)).write_bytes(after)
        markers = ["not slow and not full"] + (["slow"] if arguments.slow else [])
        for marker in markers:
            for files in suites(path)[: 1 if arguments.near else 2]:
                if not files:
                    continue
                files = [one.relative_to(ROOT) for one in files]
                code = run(checkout, files, arguments.seconds, marker)
                if code == -signal.SIGALRM:
                    raise TimeoutError
                if code not in (0, 5):  # 5: no tests of this kind
                    log = (checkout / "log.txt").read_text().splitlines()
                    return next(
                        (one for one in log if one.startswith(("FAILED", "ERROR"))), "crash"
                    )
    return None


def main():
    """Draw faults and try them one after another."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--under", default=PACKAGE, help="folder or file")
    parser.add_argument("--seconds", type=int, default=240, help="limit of one run of tests")
    parser.add_argument("--slow", action="store_true", help="also the slow tests")
    parser.add_argument("--near", action="store_true", help="only tests that name the file's parts")
    parser.add_argument("--part", default="0/1", help="which part of the sample: 0/2 and 1/2")
    parser.add_argument("--list", action="store_true", help="print the faults; run nothing")
    arguments = parser.parse_args()
    chosen = sample(arguments.count, arguments.seed, arguments.under)
    part, parts = map(int, arguments.part.split("/"))
    chosen = chosen[part::parts]
    if not arguments.list:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        import keras  # noqa: F401
        import sklearn.linear_model  # noqa: F401
        import tensorflow  # noqa: F401
    noticed = 0
    for number, (path, fault) in enumerate(chosen):
        line, start, end, replacement = fault
        raw = path.read_bytes()
        begin, stop = raw.rfind(b"\n", 0, start) + 1, raw.find(b"\n", end)
        old = raw[begin:stop].decode().strip()
        new = (raw[begin:start] + replacement.encode() + raw[end:stop]).decode().strip()
        print(f"{number} {path.relative_to(ROOT)}:{line}\n  - {old}\n  + {new}", flush=True)
        if arguments.list:
            continue
        began = time.monotonic()
        try:
            verdict = trial(path, fault, arguments)
            noticed += verdict is not None
        except TimeoutError:
            verdict = f"NO END within {arguments.seconds} s: look by hand"
        seconds = time.monotonic() - began
        print(f"  {verdict or 'NOT NOTICED'} ({seconds:.0f} s)", flush=True)
        print(f"  so far {noticed} of {number + 1}", flush=True)


if __name__ == "__main__":
    main()
