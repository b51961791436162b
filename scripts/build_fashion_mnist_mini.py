"""Build keras_ssl/data/fashion_mnist_mini.npz from the full Fashion-MNIST.

The full set is read from one of two places:

    python scripts/build_fashion_mnist_mini.py --data-dir ~/tensorflow_datasets
    python scripts/build_fashion_mnist_mini.py --idx-dir FOLDER

`--data-dir` is a TFDS folder with `fashion_mnist` prepared. `--idx-dir` is a folder with the four
`*-ubyte.gz` files of https://github.com/zalandoresearch/fashion-mnist, which Debian's package
`dataset-fashion-mnist` carries too.

The images of a class are ordered by the SHA-256 digest of their pixels and the first ones are
taken, so the choice is the same whatever order the source has. The result goes in rounds of one
image of every class, in the order of the digest within a round: a slice whose ends are multiples
of ten has equally many images of each class.
"""

import argparse
import gzip
import hashlib
import io
import zipfile
from pathlib import Path

import numpy as np

PER_CLASS = {"train": 1000, "test": 500}
IDX_PREFIX = {"train": "train", "test": "t10k"}
OUTPUT = Path(__file__).resolve().parents[1] / "keras_ssl" / "data" / "fashion_mnist_mini.npz"


def read_tfds(data_dir: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Return all images (n, 28, 28) and labels (n,) of a split prepared by TFDS."""
    import tensorflow_datasets as tfds

    dataset = tfds.load(
        "fashion_mnist", split=split, data_dir=data_dir, as_supervised=True, download=False
    )
    batches = [(x.numpy(), y.numpy()) for x, y in dataset.batch(10_000)]
    images, labels = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    return images[..., 0], labels.astype(np.uint8)


def read_idx(idx_dir: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Return all images (n, 28, 28) and labels (n,) of a split in the original idx files."""
    prefix = IDX_PREFIX[split]
    # an idx file is a header (16 bytes for images, 8 for labels) and then plain bytes
    pixels = gzip.decompress((idx_dir / f"{prefix}-images-idx3-ubyte.gz").read_bytes())
    labels = gzip.decompress((idx_dir / f"{prefix}-labels-idx1-ubyte.gz").read_bytes())
    images = np.frombuffer(pixels, np.uint8, offset=16).reshape(-1, 28, 28)
    return images, np.frombuffer(labels, np.uint8, offset=8)


def choose(images: np.ndarray, labels: np.ndarray, per_class: int) -> tuple[np.ndarray, np.ndarray]:
    """Return `per_class` images of every class, chosen and ordered by digest.

    The result goes in rounds: each round holds the next image of every class.
    """
    digests = [hashlib.sha256(image.tobytes()).digest() for image in images]
    chosen = []
    for label in np.unique(labels):
        members = sorted(np.flatnonzero(labels == label), key=digests.__getitem__)[:per_class]
        if len(members) < per_class:
            raise ValueError(f"Class {label} has {len(members)} images; {per_class} are needed.")
        chosen += [(turn, digests[i], i) for turn, i in enumerate(members)]
    order = [i for _, _, i in sorted(chosen)]
    return images[order], labels[order]


def write_npz(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write an npz whose members are LZMA-compressed; `numpy.load` reads it like any other.

    On these images LZMA beats deflate, PNG and lossless WebP mosaics, bzip2, and a median edge
    predictor in front of LZMA.
    """
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, array, allow_pickle=False)
            # a fixed date makes the same input give the same file
            info = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_LZMA
            info.external_attr = 0o644 << 16
            archive.writestr(info, member.getvalue())


def main() -> None:
    """Read the full set, choose, write, and print what was written."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--data-dir", type=Path, help="TFDS folder with fashion_mnist prepared")
    source.add_argument("--idx-dir", type=Path, help="folder with the four *-ubyte.gz files")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="default: %(default)s")
    args = parser.parse_args()

    arrays = {}
    for split, per_class in PER_CLASS.items():
        if args.data_dir:
            images, labels = read_tfds(args.data_dir, split)
        else:
            images, labels = read_idx(args.idx_dir, split)
        images, labels = choose(images, labels, per_class)
        arrays[f"{split}_images"], arrays[f"{split}_labels"] = images, labels
        print(f"{split}: {len(images)} images, {np.bincount(labels).tolist()} of each class")
    write_npz(args.output, arrays)
    print(f"{args.output}: {args.output.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
