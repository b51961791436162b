import hashlib
import subprocess
import sys
import time
from importlib import resources
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_ssl.data import class_names, load_images

NAME = "fashion_mnist_mini"
ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="tf.data is tested once"
)


def arrays(dataset):
    images, labels = next(iter(dataset.batch(20_000)))
    return images.numpy(), labels.numpy()


@pytest.mark.parametrize(("split", "per_class"), [("train", 1000), ("test", 500)])
def test_every_class_has_the_same_number_of_images(split, per_class):
    dataset = load_images(NAME, split)
    images, labels = arrays(dataset)
    assert len(dataset) == len(images) == 10 * per_class
    assert images.dtype == np.uint8 and labels.dtype == np.int64
    assert images.shape[1:] == (28, 28, 1) == tuple(dataset.element_spec[0].shape)
    assert np.bincount(labels).tolist() == [per_class] * 10
    assert len(np.unique(images.reshape(len(images), -1), axis=0)) == len(images)


def test_slices_at_tens_are_class_balanced():
    _, labels = arrays(load_images(NAME, "train[:600]"))
    assert np.bincount(labels).tolist() == [60] * 10


@pytest.mark.parametrize(
    ("split", "rows"),
    [
        ("test[:70]", slice(0, 70)),
        ("test[-50:]", slice(4950, 5000)),
        ("test[30:-20]", slice(30, 4980)),
        ("test[10%:30%]", slice(500, 1500)),
        ("test[99%:]", slice(4950, 5000)),
    ],
)
def test_slices_equal_those_of_the_full_split(split, rows):
    all_images, all_labels = arrays(load_images(NAME, "test"))
    images, labels = arrays(load_images(NAME, split))
    np.testing.assert_array_equal(images, all_images[rows])
    np.testing.assert_array_equal(labels, all_labels[rows])


def test_joined_splits():
    images, labels = arrays(load_images(NAME, "test[:3]+train[5:9]"))
    np.testing.assert_array_equal(images[:3], arrays(load_images(NAME, "test[:3]"))[0])
    np.testing.assert_array_equal(images[3:], arrays(load_images(NAME, "train[5:9]"))[0])
    assert len(labels) == 7


@pytest.mark.parametrize("split", ["tran", "validation", "train[", "train[::2]", "test[:200%]"])
def test_unreadable_split(split):
    with pytest.raises(ValueError, match=r"`split` cannot be read.*'train', 'test'.*Received"):
        load_images(NAME, split)


@pytest.mark.parametrize("split", ["train[5:5]", "train[9:3]"])
def test_empty_split(split):
    with pytest.raises(ValueError, match=r"`split` selects no images.*Received"):
        load_images(NAME, split)


@pytest.mark.parametrize(("name", "split"), [(NAME, None), (NAME, ""), (3, "train"), ("", "test")])
def test_arguments_that_are_not_strings(name, split):
    with pytest.raises(ValueError, match="must be a non-empty string"):
        load_images(name, split)


def test_file_is_small_and_decodes_fast():
    file = resources.files("keras_ssl.data").joinpath(f"{NAME}.npz")
    assert Path(str(file)).stat().st_size < 6_000_000
    start = time.perf_counter()
    load_images(NAME, "train")
    # 0.3 s on an idle core; the margin is for a busy machine
    assert time.perf_counter() - start < 5


def test_license_is_shipped():
    text = resources.files("keras_ssl.data").joinpath(f"{NAME}.LICENSE").read_text("utf-8")
    assert "MIT License" in text and "2017 Zalando SE" in text
    assert "https://github.com/zalandoresearch/fashion-mnist" in text


@pytest.mark.parametrize("split", ["train", "test"])
def test_images_equal_those_of_the_full_set(split, tfds_dir):
    """Every embedded image is in the same split of Fashion-MNIST, with the same label."""

    def keys(images, labels):
        return {
            (hashlib.sha256(x.tobytes()).digest(), int(y))
            for x, y in zip(images, labels, strict=True)
        }

    full = set()
    for images, labels in load_images("fashion_mnist", split, tfds_dir).batch(10_000):
        full |= keys(images.numpy(), labels.numpy())
    mini = keys(*arrays(load_images(NAME, split)))
    assert len(mini) == {"train": 10_000, "test": 5_000}[split]
    assert mini <= full


def test_class_names_equal_tfds(tfds_dir):
    assert class_names(NAME) == class_names("fashion_mnist", tfds_dir)


@pytest.mark.slow  # compressing takes 15 s
def test_build_script_makes_the_shipped_arrays(tfds_dir, tmp_path):
    script = ROOT / "scripts" / "build_fashion_mnist_mini.py"
    output = tmp_path / "mini.npz"
    subprocess.run(
        [sys.executable, script, "--data-dir", tfds_dir, "--output", output],
        check=True,
        capture_output=True,
    )
    with (
        np.load(output, allow_pickle=False) as built,
        np.load(ROOT / "keras_ssl" / "data" / f"{NAME}.npz", allow_pickle=False) as shipped,
    ):
        assert sorted(built) == sorted(shipped)
        for key in shipped:
            np.testing.assert_array_equal(built[key], shipped[key])
