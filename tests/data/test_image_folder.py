"""`image_folder` with files written here, compared with TensorFlow's decoders and resizing."""

import importlib

import keras
import numpy as np
import pytest
from PIL import Image

if keras.backend.backend() != "tensorflow":
    pytest.skip("tf.data needs TensorFlow", allow_module_level=True)

import tensorflow as tf

from keras_ssl import data


def picture(height=24, width=36):
    """A smooth colour picture, uint8, which JPEG changes little."""
    rows, columns = np.mgrid[:height, :width]
    parts = [rows / height, columns / width, (rows + columns) / (height + width)]
    return (np.stack(parts, -1) * 255).astype(np.uint8)


def write(path, pixels, mode=None, **options):
    """Write an image file, in another mode of Pillow if one is given, and make its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(path, **options)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Eleven images of three classes whose sizes differ, each of one shade of grey."""
    path = tmp_path_factory.mktemp("images")
    for number in range(11):
        pixels = np.full((10 + number, 30 - number, 3), 20 * number, np.uint8)
        write(path / "abc"[number % 3] / f"{number:02}.png", pixels)
    return path


def shades(images):
    return (np.asarray(images)[:, 0, 0, 0] // 20).tolist()


ORDER = [0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8]  # by class, then by name


@pytest.mark.parametrize(
    ("name", "mode", "decode"),
    [
        ("rgb.png", None, tf.io.decode_png),
        ("grey.png", "L", tf.io.decode_png),
        ("palette.png", "P", tf.io.decode_png),
        ("bits.png", "1", tf.io.decode_png),
        ("rgb.bmp", None, tf.io.decode_bmp),
        ("palette.gif", "P", tf.io.decode_gif),
        ("rgb.jpg", None, tf.io.decode_jpeg),
        ("grey.JPEG", "L", tf.io.decode_jpeg),
        ("inks.jpg", "CMYK", tf.io.decode_jpeg),
    ],
)
def test_formats_are_decoded_as_tensorflow_does(tmp_path, name, mode, decode):
    write(tmp_path / name, picture(), mode)
    made = data.image_folder(tmp_path, (24, 36)).images()
    assert made.shape == (1, 24, 36, 3) and made.dtype == np.uint8
    content = tf.io.read_file(str(tmp_path / name))
    expected = decode(content) if decode is tf.io.decode_gif else decode(content, channels=3)
    expected = expected.numpy().reshape(24, 36, 3).astype(int)
    assert np.abs(made[0] - expected).max() <= (3 if decode is tf.io.decode_jpeg else 0)


def test_colours_of_a_bmp_with_a_palette(tmp_path):
    image = Image.fromarray(np.arange(4, dtype=np.uint8).reshape(2, 2)).convert("P")
    image.putpalette(colours := [200, 30, 90, 0, 0, 255, 7, 8, 9, 250, 251, 252])
    image.save(tmp_path / "a.bmp")  # TensorFlow takes its indices for shades of grey
    (made,) = data.image_folder(tmp_path, 2).images()
    assert made.ravel().tolist() == colours


def test_of_16_bits_the_upper_8_are_kept(tmp_path):
    values = (np.arange(64).reshape(8, 8) * 1024).astype(np.uint16)
    Image.fromarray(values).save(tmp_path / "deep.png")
    grey, colour = (data.image_folder(tmp_path, 8, channels).images()[0] for channels in (1, 3))
    np.testing.assert_array_equal(grey[..., 0], values // 256)
    np.testing.assert_array_equal(colour, np.repeat(grey, 3, axis=-1))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_pixels_lie_on_white_unless_alpha_is_asked_for(tmp_path, mode):
    pixels = np.zeros((6, 6, 4), np.uint8)
    pixels[3:, :, 3] = 255  # the upper half is transparent black
    write(tmp_path / "a.png", pixels, mode)
    for channels in (1, 3):
        (made,) = data.image_folder(tmp_path, 6, channels).images()
        assert (made[:3] == 255).all() and (made[3:] == 0).all()
    np.testing.assert_array_equal(data.image_folder(tmp_path, 6, 4).images()[0], pixels)


def test_grey_is_that_of_tensorflow(tmp_path):
    write(tmp_path / "a.png", picture())
    (made,) = data.image_folder(tmp_path, (24, 36), channels=1).images()
    expected = tf.image.rgb_to_grayscale(picture()).numpy()
    assert np.abs(made.astype(int) - expected).max() <= 1


@pytest.mark.parametrize(
    ("size", "covering", "corner"),
    [
        ((80, 120), (16, 24), (0, 0)),
        ((80, 180), (16, 36), (0, 6)),
        ((200, 120), (40, 24), (12, 0)),
        ((8, 30), (16, 60), (0, 18)),
    ],
    ids=["same aspect", "wide", "tall", "small"],
)
def test_resized_with_aspect_kept_and_cropped_to_the_centre(tmp_path, size, covering, corner):
    noise = np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.uint8)
    write(tmp_path / "a.png", noise)
    (made,) = data.image_folder(tmp_path, (16, 24)).images()
    resized = tf.image.resize(noise, covering, antialias=True).numpy()
    (top, left) = corner
    assert np.abs(made - resized[top : top + 16, left : left + 24]).max() <= 1.5


def test_large_jpegs_are_decoded_at_a_fraction_of_their_size(tmp_path):
    write(tmp_path / "a.jpg", picture(800, 1200), quality=95)
    (made,) = data.image_folder(tmp_path, (16, 24)).images()
    expected = tf.image.resize(picture(800, 1200), (16, 24), antialias=True)
    assert np.abs(made - expected.numpy()).max() <= 3


def test_turned_as_exif_says(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees clockwise when shown
    write(tmp_path / "a.png", picture(), exif=exif)
    (made,) = data.image_folder(tmp_path, (36, 24)).images()
    np.testing.assert_array_equal(made, np.rot90(picture(), -1))


def test_searched_in_a_fixed_order(tmp_path):
    names = ["b/x.png", "B/y.PNG", "a.gif", "b/c/z.jpg", "10.bmp", "9.bmp"]
    for name in [*names, ".hidden.png", ".cache/a.png"]:
        write(tmp_path / name, picture(4, 4))
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "b" / "again").symlink_to(tmp_path / "b", target_is_directory=True)
    assert data.image_folder(tmp_path, 4).files == sorted(names)


def test_subfolders_are_classes(folder):
    images = data.image_folder(folder, 8, labels=True)
    assert images.class_names == ["a", "b", "c"]
    assert images.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 3
    for number, (image, label) in enumerate(images.examples().as_numpy_iterator()):
        assert shades(image[None]) == [ORDER[number]] and label == images.labels[number]
    x, y = next(images.batches(11).as_numpy_iterator())
    assert shades(x) == ORDER and y.tolist() == images.labels.tolist() and y.dtype == np.int64


@pytest.mark.parametrize("cache", [True, False], ids=["in memory", "from files"])
def test_batches_have_static_shapes_and_a_length(folder, cache):
    images = data.image_folder(folder, (8, 9), channels=1, cache=cache)
    assert len(images) == 11 and images.labels is None and images.class_names is None
    batches = images.batches(4)
    assert len(batches) == 3
    assert batches.element_spec == tf.TensorSpec((None, 8, 9, 1), tf.uint8)
    assert shades(np.concatenate(list(batches.as_numpy_iterator()))) == ORDER
    whole = images.batches(4, drop_remainder=True)
    assert len(whole) == 2 and whole.element_spec.shape == (4, 8, 9, 1)
    assert images.examples().element_spec == tf.TensorSpec((8, 9, 1), tf.uint8)
    assert len(images.examples()) == 11
    assert shades(images.images([3, -1])) == [ORDER[3], ORDER[-1]]
    with pytest.raises(IndexError, match="`rows` must be indices of the 11 images"):
        images.images([11])


def test_shuffling_is_seeded_and_can_be_resumed(folder):
    def epochs(batches, count=3):
        return [shades(np.concatenate(list(batches.as_numpy_iterator()))) for _ in range(count)]

    def made(seed, cache=True):
        return data.image_folder(folder, 4, cache=cache).batches(4, shuffle=True, seed=seed)

    first = epochs(made(0))
    assert all(sorted(epoch) == sorted(ORDER) for epoch in first)
    assert len({tuple(epoch) for epoch in first}) == 3
    assert epochs(made(0, cache=False)) == first
    assert epochs(made(1)) != first
    resumed = made(0)
    iter(resumed), iter(resumed)  # a resumed run makes the iterators of earlier epochs
    assert epochs(resumed, 1) == first[2:]


def test_images_keep_their_index(folder):
    images = data.image_folder(folder, 4)
    indexed = data.with_index(images.examples()).shuffle(11, seed=0)
    for x in indexed.as_numpy_iterator():
        assert shades(x["image"][None]) == [ORDER[x["index"]]]


def break_some(path):
    """Write good and broken files, and return the names of each."""
    noise = np.random.default_rng(0).integers(0, 256, (60, 60, 3)).astype(np.uint8)
    for name in ("a/good.png", "a/short.jpg", "b/short.png", "b/short.bmp", "b/short.gif"):
        write(path / name, noise)
        if "short" in name:
            content = (path / name).read_bytes()
            (path / name).write_bytes(content[: len(content) // 2])
    write(path / "b" / "fine.jpg", noise)
    (path / "a" / "empty.jpg").touch()
    (path / "c").mkdir()
    (path / "c" / "text.png").write_text("no image")
    (path / "c" / "lost.png").symlink_to(path / "nowhere.png")
    broken = ["a/empty.jpg", "a/short.jpg", "b/short.bmp", "b/short.gif", "b/short.png"]
    return ["a/good.png", "b/fine.jpg"], [*broken, "c/lost.png", "c/text.png"]


@pytest.mark.parametrize("cache", [True, False], ids=["in memory", "from files"])
def test_broken_files_are_named_and_left_out(tmp_path, cache):
    good, broken = break_some(tmp_path)
    with pytest.warns(UserWarning, match="7 of 9 image files in .* left out") as warned:
        images = data.image_folder(tmp_path, 8, labels=True, cache=cache)
    assert len(warned) == 1 and warned[0].filename == __file__
    assert "a/empty.jpg: UnidentifiedImageError" in str(warned[0].message)
    assert "and 2 more" in str(warned[0].message)
    assert images.files == good and list(images.skipped) == broken
    assert images.class_names == ["a", "b", "c"] and images.labels.tolist() == [0, 1]
    x, y = next(images.batches(2, drop_remainder=True).as_numpy_iterator())
    assert y.tolist() == [0, 1]
    np.testing.assert_array_equal(x, images.images())


def test_a_file_that_vanishes_is_named(tmp_path):
    for name in ("a.png", "b.png"):
        write(tmp_path / name, picture())
    images = data.image_folder(tmp_path, 8, cache=False)
    (tmp_path / "b.png").unlink()
    with pytest.raises(OSError, match=r"b\.png in .* can no longer be read: FileNotFound"):
        images.images()
    with pytest.raises(tf.errors.OpError, match=r"b\.png in .* can no longer be read"):
        list(images.batches(2))


def test_many_images_are_not_kept_in_memory(folder, monkeypatch):
    module = importlib.import_module("keras_ssl.data.image_folder")
    monkeypatch.setattr(module, "_MEMORY", 11 * 8 * 8 * 3)
    kept = data.image_folder(folder, 8)
    read = data.image_folder(folder, 9)
    (folder / "a" / "00.png").rename(folder / "moved")
    try:
        assert shades(kept.images()) == ORDER
        with pytest.raises(OSError, match=r"00\.png"):
            read.images()
    finally:
        (folder / "moved").rename(folder / "a" / "00.png")


def test_one_image_can_be_read_and_not_be_batched_in_twos(tmp_path):
    write(tmp_path / "a.png", picture())
    images = data.image_folder(tmp_path, 8)
    assert len(images) == 1 and len(images.batches(2)) == 1
    with pytest.raises(ValueError, match="`batch_size` must be at most the number of examples, 1"):
        images.batches(2, drop_remainder=True)


def test_a_folder_without_images_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"\.jpg, \.png\), in it or its subfolders.*no files"):
        data.image_folder(tmp_path)
    (tmp_path / "a.webp").touch()
    (tmp_path / "Makefile").touch()
    with pytest.raises(ValueError, match=r"2 others, such as \.webp, Makefile"):
        data.image_folder(tmp_path)
    (tmp_path / "b.png").touch()
    with pytest.raises(ValueError, match=r"1 image files, none of which can be:\n  b\.png: "):
        data.image_folder(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"path": "no/such/folder"}, FileNotFoundError, "`path` must be a folder that exists"),
        ({"path": __file__}, NotADirectoryError, "Received: the file '.*test_image_folder.py'"),
        ({"path": 3}, TypeError, "`path` must be the name of a folder. Received: path=3"),
        ({"image_size": 0}, ValueError, "`image_size` must be a positive integer or a pair"),
        ({"image_size": "64"}, TypeError, "`image_size` must be a positive integer or a pair"),
        ({"channels": 2}, ValueError, "`channels` must be 1, 3 or 4. Received: channels=2"),
        ({"channels": "rgb"}, TypeError, "`channels` must be an integer"),
        ({"cache": "a.npy"}, TypeError, "`cache` must be True, False or None"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_bad_arguments(folder, arguments, error, match):
    with pytest.raises(error, match=match):
        data.image_folder(**{"path": folder, **arguments})


def test_images_outside_of_classes_are_refused(tmp_path):
    write(tmp_path / "cat" / "a.png", picture())
    write(tmp_path / "b.png", picture())
    with pytest.raises(ValueError, match=r"`labels=True` takes the subfolders .*'b\.png'"):
        data.image_folder(tmp_path, labels=True)
