"""`load_images` with small TFDS sets written here, and with real ones if they are present."""

import logging
import socket

import keras
import numpy as np
import pytest

from keras_ssl.data import class_names, load_images

if keras.backend.backend() == "tensorflow":
    import tensorflow_datasets as tfds
else:
    pytest.skip("tf.data is tested once", allow_module_level=True)


def write_set(folder, name="little", version="1.0.0", features=None, examples=None, config=None):
    """Prepare a TFDS set of a few images without any builder code."""
    features = tfds.features.FeaturesDict(
        features
        or {
            "image": tfds.features.Image(shape=(6, 5, 3)),
            "label": tfds.features.ClassLabel(names=["cat", "dog"]),
            "file": tfds.features.Text(),
        }
    )
    rng = np.random.default_rng(0)
    examples = examples or [
        {"image": rng.integers(0, 256, (6, 5, 3), np.uint8), "label": i % 2, "file": f"{i}"}
        for i in range(7)
    ]
    kwargs = {"config": config} if config else {}
    tfds.dataset_builders.store_as_tfds_dataset(
        name=name,
        version=version,
        features=features,
        split_datasets={"train": list(enumerate(examples))},
        data_dir=folder,
        disable_shuffling=True,
        **kwargs,
    )
    return examples


@pytest.fixture(scope="module")
def little(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sets")
    return folder, write_set(folder)


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Make every connection to a host fail."""

    def refuse(*args, **kwargs):
        raise socket.gaierror("no network in tests")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    for variable in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(variable, raising=False)
        monkeypatch.delenv(variable.upper(), raising=False)


@pytest.fixture
def default_folders(monkeypatch, tmp_path):
    """Two empty default folders: that of the environment variable, and TFDS's own."""
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    monkeypatch.setenv("KERAS_SSL_DATA_DIR", str(ours))
    monkeypatch.setenv("TFDS_DATA_DIR", str(theirs))
    return ours, theirs


def test_reads_images_and_labels(little):
    folder, examples = little
    dataset = load_images("little", "train", folder)
    assert len(dataset) == 7
    assert tuple(dataset.element_spec[0].shape) == (6, 5, 3)
    for (image, label), example in zip(dataset, examples, strict=True):
        np.testing.assert_array_equal(image, example["image"])
        assert image.numpy().dtype == np.uint8 and label.numpy().dtype == np.int64
        assert label.numpy() == example["label"]
    assert class_names("little", folder) == ["cat", "dog"]


def test_slices(little):
    labels = [int(y) for _, y in load_images("little", "train[2:-1]", little[0])]
    assert labels == [0, 1, 0, 1]
    with pytest.raises(ValueError, match=r"`split` cannot be read.*\['train'\].*Received"):
        load_images("little", "test", little[0])


def test_searched_folders(little, default_folders, monkeypatch, tmp_path):
    """data_dir itself, its subfolder tfds, our variable's folder, TFDS's own folder."""
    root = tmp_path / "root"
    root.mkdir()
    (root / "tfds").symlink_to(little[0])
    assert len(load_images("little", "train", root)) == 7
    monkeypatch.setenv("KERAS_SSL_DATA_DIR", str(root))
    assert len(load_images("little", "train")) == 7
    monkeypatch.delenv("KERAS_SSL_DATA_DIR")
    monkeypatch.setenv("TFDS_DATA_DIR", str(little[0]))
    assert len(load_images("little", "train")) == 7


def test_data_dir_is_the_only_folder(little, default_folders, monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_SSL_DATA_DIR", str(little[0]))
    with pytest.raises(ValueError, match="There is no data set 'little'"):
        load_images("little", "train", tmp_path)


def test_newest_version_by_default(tmp_path):
    for version, count in (("1.9.0", 2), ("1.10.0", 3)):
        write_set(tmp_path, version=version, examples=[
            {"image": np.zeros((6, 5, 3), np.uint8), "label": 0, "file": ""}
        ] * count)  # fmt: skip
    assert len(load_images("little", "train", tmp_path)) == 3
    assert len(load_images("little:1.9.0", "train", tmp_path)) == 2
    assert len(load_images("little:1.9.*", "train", tmp_path)) == 2


def test_several_prepared_configs_need_a_name(tmp_path):
    write_set(tmp_path, config="small")
    assert len(load_images("little", "train", tmp_path)) == 7
    write_set(tmp_path, config="large")
    assert len(load_images("little/large", "train", tmp_path)) == 7
    with pytest.raises(ValueError, match=r"\['little/large', 'little/small'\].*Received"):
        load_images("little", "train", tmp_path)


def test_images_of_many_sizes(tmp_path):
    sizes = [(4, 6, 3), (9, 3, 3)]
    write_set(
        tmp_path,
        features={"image": tfds.features.Image(), "label": tfds.features.ClassLabel(num_classes=2)},
        examples=[{"image": np.zeros(size, np.uint8), "label": 1} for size in sizes],
    )
    dataset = load_images("little", "train", tmp_path)
    assert tuple(dataset.element_spec[0].shape) == (None, None, 3)
    assert [tuple(image.shape) for image, _ in dataset] == sizes


def test_set_without_labels(tmp_path):
    features = {"image": tfds.features.Image(shape=(4, 4, 1))}
    write_set(tmp_path, features=features, examples=[{"image": np.ones((4, 4, 1), np.uint8)}] * 2)
    dataset = load_images("little", "train", tmp_path)
    assert len(dataset.element_spec) == 1
    assert [image.numpy().sum() for (image,) in dataset] == [16, 16]
    with pytest.raises(ValueError, match="have no names"):
        class_names("little", tmp_path)


@pytest.mark.parametrize(
    ("feature", "value", "message"),
    [
        ({"text": "Text"}, {"text": "a"}, "no image named 'image'"),
        ({"image": ("Image", {"shape": (2, 2, 1), "dtype": np.uint16})},
         {"image": np.zeros((2, 2, 1), np.uint16)}, "not uint8"),
        ({"image": ("Image", {"shape": (2, 2, 1)}), "label": "Text"},
         {"image": np.zeros((2, 2, 1), np.uint8), "label": "a"}, "not one integer per image"),
    ],
)  # fmt: skip
def test_sets_without_suitable_features(tmp_path, feature, value, message):
    made = {}
    for key, spec in feature.items():
        kind, kwargs = spec if isinstance(spec, tuple) else (spec, {})
        made[key] = getattr(tfds.features, kind)(**kwargs)
    write_set(tmp_path, features=made, examples=[value])
    with pytest.raises(ValueError, match=f"{message}.*`tfds.load`.*Received"):
        load_images("little", "train", tmp_path)


def test_unknown_name_lists_similar_ones(default_folders):
    with pytest.raises(ValueError, match=r"no data set 'cifar01'.*'cifar10'.*Received"):
        load_images("cifar01", "train")
    with pytest.raises(ValueError, match=r"no data set 'fashion_mnist_mni'.*'fashion_mnist_mini'"):
        load_images("fashion_mnist_mni", "train")


def test_unknown_version(default_folders):
    with pytest.raises(ValueError, match=r"TFDS has no 'cifar10:1.0.0'.*Received"):
        load_images("cifar10:1.0.0", "train")


def test_error_of_an_unreachable_set(default_folders):
    ours, theirs = default_folders
    with pytest.raises(FileNotFoundError) as caught:
        load_images("cifar10", "train")
    message = str(caught.value)
    assert "'cifar10'" in message and "no network" in message and "www.cs.toronto.edu" in message
    assert str(ours / "cifar10") in message and str(theirs / "cifar10") in message
    assert "data_dir=" in message and "KERAS_SSL_DATA_DIR" in message
    assert "tfds build cifar10" in message and "'fashion_mnist_mini'" in message


def test_failed_download_is_the_same_error(default_folders, monkeypatch):
    def fail(self, **kwargs):
        raise OSError("the disk is full")

    monkeypatch.setenv("https_proxy", "http://proxy:1")  # which would resolve the names
    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", fail)
    with pytest.raises(FileNotFoundError, match=r"OSError: the disk is full(.|\n)*Three ways"):
        load_images("cifar10", "train")


def test_downloads_to_the_first_folder(default_folders, monkeypatch):
    prepared = []

    def stop(self, **kwargs):
        prepared.append(self.data_dir)
        raise OSError("enough")

    monkeypatch.setattr(socket, "getaddrinfo", lambda *args: [])
    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", stop)
    with pytest.raises(FileNotFoundError):
        load_images("cifar10", "train")
    assert prepared == [str(default_folders[0] / "cifar10" / "3.0.2")]


def test_real_sets(tfds_dir, caplog):
    with caplog.at_level(logging.WARNING):
        cifar10 = load_images("cifar10", "test[:64]", tfds_dir)
        fashion = load_images("fashion_mnist", "train", tfds_dir)
    assert not caplog.records
    images, labels = next(iter(cifar10.batch(64)))
    assert images.shape == (64, 32, 32, 3) and images.numpy().std() > 30
    assert set(labels.numpy()) <= set(range(10))
    assert class_names("cifar10", tfds_dir)[0] == "airplane"
    assert len(fashion) == 60_000 and tuple(fashion.element_spec[0].shape) == (28, 28, 1)
