"""What our sides of methods share: data, views, encoders."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_ssl import augment, evaluate, layers, networks, trainers

Trainer = trainers.SelfSupervisedModel


class Images(NamedTuple):
    """The training images and their labels, as arrays."""

    images: np.ndarray
    labels: np.ndarray


def alone(train: Images) -> Any:
    """What most methods read: images alone."""
    return train.images


def labelled(train: Images) -> Any:
    """What methods read that learn from labels."""
    return tuple(train)


def indexed(train: Images) -> Any:
    """What methods read that remember each image."""
    return {"image": train.images, "index": np.arange(len(train.images))}


def whole(trainer: Trainer, train: Images) -> keras.Model:
    """The encoder of most methods: a trainer's output is that of its encoder."""
    return trainer


class Method(NamedTuple):
    """How to make the trainer, called with the training images too; what it reads; its encoder."""

    trainer: Callable[..., Trainer]
    reads: Callable[[Images], Any] = alone
    encoder: Callable[[Trainer, Images], keras.Model] = whole


def small_encoder(width: int) -> keras.Model:
    """The encoder of every method that takes a convolutional one."""
    return networks.small_resnet((32, 32, 3), width)


def write_kernels(encoder: keras.Model, path: str) -> None:
    """Writes the kernels of the convolutions by name."""
    convolutions = [one for one in encoder.layers if isinstance(one, keras.layers.Conv2D)]
    np.savez(path, **{one.name: keras.ops.convert_to_numpy(one.kernel) for one in convolutions})


def two_views(smallest: float = 0.08) -> keras.layers.Layer:
    """SimCLR's views of CIFAR-10 (arXiv:2002.05709, appendix B.9), crops of at least this area."""
    return augment.SimCLRViews(32, scale=(smallest, 1.0), strength=0.5, blur_probability=0.0)


def any_size_encoder(width: int, channels: int = 3) -> keras.Model:
    """The small encoder for patches as well as whole images."""
    return networks.small_resnet((None, None, channels), width)


def one_view(smallest: float) -> keras.layers.Layer:
    """A crop of at least this area, mirrored or not."""
    crop = augment.RandomResizedCrop(32, scale=(smallest, 1.0))
    return augment.Pipeline([crop, augment.RandomHorizontalFlip()])


def pixel_decoder(
    widths: Sequence[int], features: int, shape: tuple[int, int, int] = (32, 32, 3)
) -> keras.Model:
    """From features to pixels from 0 to 255."""
    decoder = networks.conv_decoder(shape, widths, features)
    return keras.Sequential([decoder, keras.layers.Rescaling(127.5, offset=127.5)])


def trained_part(trainer: Trainer, train: Images) -> keras.Model:
    """The encoder alone, of a trainer whose output is something else."""
    return trainer.encoder


def held_out_probe(encoder: keras.Model, train: Images) -> float:
    """The linear probe of features, fitted on four fifths of training images, on the last fifth."""
    features = encoder.predict(train.images, batch_size=500, verbose=0)
    cut = 4 * len(features) // 5
    parts = [(features[part], train.labels[part]) for part in (slice(cut), slice(cut, None))]
    return evaluate.linear_probe(evaluate.raw_pixels, *parts)


def small_vit(width: int, **arguments: Any) -> networks.VisionTransformer:
    """The encoder of every method that hides patches: 64 patches, four blocks."""
    return networks.vit((width, 4, 4), (32, 32, 3), patch_size=4, **arguments)


def token_head(projector: Sequence[int]) -> layers.ProjectionHead:
    """The head of methods on tokens."""
    return layers.ProjectionHead(
        projector, normalization=False, activation="gelu", l2_normalize=True
    )
