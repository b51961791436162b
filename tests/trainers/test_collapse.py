"""Methods collapse on real images without the part that keeps them from it, and the monitor tells.

Each pair differs in that part alone. Figures of more seeds: docs/evaluation.md, Collapse.
"""

import pytest

from benchmarks.collapse import read, residual_encoder, run

# the measure of what collapses first
MEASURES = {
    "BYOL": "projection_spread",
    "DINO": "assignment_spread",
    "VICReg": "projection_spread",
}


@pytest.fixture(scope="module")
def images():
    """Images to learn from, and to watch."""
    name = "fashion_mnist_mini"
    return read(name, "train[:4000]")[0], read(name, "test[:1024]")[0]


@pytest.fixture
def cifar10(tfds_dir):
    """The same of CIFAR-10, where this machine has it."""
    return read("cifar10", "train[:6000]")[0], read("cifar10", "test[:1024]")[0]


def check(method, x, watched, **settings):
    _, healthy, said = run(method, True, x, watched, **settings)
    assert said == []
    _, collapsed, said = run(method, False, x, watched, **settings)
    assert any("CollapseMonitor: complete collapse of the" in one for one in said)
    spread = MEASURES[method]
    assert healthy[spread][-1] > 0.1
    assert collapsed[spread][-1] < 0.04
    assert healthy[spread][-1] > 5 * collapsed[spread][-1]


@pytest.mark.full
@pytest.mark.parametrize(
    "method",
    ["BYOL", "VICReg", "DINO"],
)
def test_only_the_incomplete_method_collapses(method, images):
    check(method, *images)


@pytest.mark.full
@pytest.mark.parametrize("method", MEASURES)
def test_on_cifar10(method, cifar10):
    check(method, *cifar10)


@pytest.mark.full
@pytest.mark.parametrize("method", ["BYOL", "VICReg"])
def test_of_a_residual_network(method, images):
    """Batch normalisation in the encoder keeps features apart, and not projections."""
    check(method, *images, encoder=residual_encoder)
