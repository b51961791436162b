"""SimCLR with a ResNet-50: built and traced with the package's own parts."""

import keras
import tensorflow as tf

from keras_ssl.layers import ProjectionHead
from keras_ssl.losses import nt_xent
from keras_ssl.networks import imagenet_stem, resnet50
from keras_ssl.trainers import SimCLR

from .kept import kept_bytes, kept_bytes_by_example
from .workloads import Workload

VIEWS = 2


def simclr_resnet50(size: int = 224, embedding: int = 128) -> Workload:
    """SimCLR (arXiv 2002.05709): 2 views of 224 x 224, projector 2048 - 128, LARS."""
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        encoder = resnet50((size, size, 3), stem=imagenet_stem)
        projector = ProjectionHead((2048, embedding))
        projector.build(encoder.output_shape)
    finally:
        keras.config.set_dtype_policy(policy)

    def forward(images: tf.Tensor) -> tf.Tensor:
        return projector(encoder(images, training=True), training=True)

    weights = encoder.trainable_weights + projector.trainable_weights
    variables = [weight.value for weight in weights]
    image = tf.TensorSpec((size, size, 3))
    norms = [layer for layer in _layers(encoder, projector) if is_batch_norm(layer)]
    one_view = sum(operations(layer) for layer in _layers(encoder, projector))
    return Workload(
        name="SimCLR ResNet-50",
        parameters=sum(int(tf.size(variable)) for variable in variables),
        teacher_parameters=0,
        optimizer_slots=1,
        operations=3 * VIEWS * one_view,
        forward_operations=VIEWS * one_view,
        kept_bytes=VIEWS * kept_bytes_by_example(forward, variables, image),
        gathered_per_image=VIEWS * embedding,
        normalized_channels=sum(layer.moving_mean.shape[0] for layer in norms),
        normalizations=len(norms),
        utilization=0.2,
        kept_by_similarity=similarity_bytes(),
    )


def exchange(trainer: SimCLR) -> Workload:
    """What a built trainer exchanges in a step; what it computes and holds is left out."""
    norms = [layer for layer in _layers(trainer) if is_batch_norm(layer)]
    return Workload(
        name="SimCLR",
        parameters=sum(int(tf.size(weight.value)) for weight in trainer.trainable_weights),
        teacher_parameters=0,
        optimizer_slots=0,
        operations=0,
        forward_operations=0,
        kept_bytes=0,
        gathered_per_image=VIEWS * trainer.projector.widths[-1],
        normalized_channels=sum(layer.moving_mean.shape[0] for layer in norms),
        normalizations=len(norms),
    )


def similarity_bytes(examples: int = 512) -> int:
    """Bytes that the backward pass of NT-Xent reads of each entry of its matrix."""

    def count(examples: int) -> int:
        return kept_bytes(nt_xent, [], *[tf.TensorSpec((examples, 1))] * 2)

    # of N examples it reads k (2 N)^2 + c N: twice the examples, less twice what one N has
    return round((count(2 * examples) - 2 * count(examples)) / (8 * examples**2))


def is_batch_norm(layer: keras.layers.Layer) -> bool:
    """Whether its statistics are those of all devices."""
    return isinstance(layer, keras.layers.BatchNormalization)


def operations(layer: keras.layers.Layer) -> int:
    """Floating-point operations of one example in a convolution or a dense layer; else 0."""
    if not isinstance(layer, (keras.layers.Conv2D, keras.layers.Dense)):
        return 0
    kernel = layer.kernel.shape
    places = 1
    if isinstance(layer, keras.layers.Conv2D):
        *_, height, width, _ = layer.output.shape
        places = height * width
    return 2 * places * int(tf.reduce_prod(kernel))


def _layers(*parts: keras.layers.Layer) -> list[keras.layers.Layer]:
    """All layers that hold no other layers."""
    every = [layer for part in parts for layer in part._flatten_layers()]
    return [layer for layer in every if not list(layer._flatten_layers(include_self=False))]
