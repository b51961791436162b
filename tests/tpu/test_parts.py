"""All that is public and runs in a step runs on a TPU, also outside a trainer."""

import inspect
from functools import partial

import keras
import numpy as np
import pytest

if keras.backend.backend() != "tensorflow":
    pytest.skip("TPU obstacles are those of the TensorFlow backend", allow_module_level=True)

import tensorflow as tf

from keras_ssl import augment, layers, losses, networks, optimizers
from keras_ssl.networks.generative._blocks import AttentionBlock, ResidualBlock
from tests.test_package import ABSTRACT
from tests.tpu.obstacles import function_tpu_obstacles

# in a process of their own: what XLA compiles stays in memory
pytestmark = pytest.mark.slow

DENSE = keras.layers.Dense(8, use_bias=False)
DENSE.build((None, 5))
# what the constructors of the rooms need, or what makes them do all they can
ARGUMENTS = {
    "AdaptiveLogSoftmax": {"num_classes": 12, "cutoffs": [3, 6], "gather_rows": False},
    "Bilinear": {"units": 3},
    "HyperDense": {"units": 3, "network": keras.layers.Dense(4, "relu")},
    "Maxout": {"units": 3},
    "MixtureOfExperts": {"num_experts": 4, "hidden_dim": 6, "top_k": 2},
    "WeightTied": {"layer": DENSE},
    "AdaptiveTransformerBlock": {"num_heads": 2, "hidden_dim": 16, "dropout_rate": 0.1},
    "AdditiveAttentionPooling": {"units": 4},
    "AttentionPooling": {"num_heads": 2},
    "BidirectionalEncoder": {"units": 4, "dropout_rate": 0.1},
    "GRUCell": {"units": 8},
    "LSTMCell": {"units": 8, "peephole": True, "layer_norm": True},
    "MinimalGRUCell": {"units": 8},
    "RNNCell": {"units": 8, "learn_initial_state": True},
    "RecurrentLayer": {"cell": layers.GRUCell(8), "truncate": 3},
    "BlockMasking": {"grid": (6, 6), "min_tokens": 4},
    "DropPath": {"rate": 0.1},
    "KSparse": {"k": 3},
    "FeedForward": {"hidden_dim": 16, "gated": True, "dropout_rate": 0.1},
    "GroupNormalization": {"groups": 4, "activation": "silu"},
    "LearnedPositionalEmbedding": {"size": (6, 6)},
    "MultiBlockMasking": {"grid": (6, 6)},
    "MultiHeadAttention": {
        "num_heads": 4,
        "num_key_value_heads": 2,
        "rotary": layers.RotaryEmbedding(),
        "query_key_norm": "rms",
        "dropout_rate": 0.1,
    },
    "PatchEmbedding": {"patch_size": 2, "width": 8},
    "RelativePositionBias": {"num_heads": 6, "grid": (5, 1)},
    "SinusoidalPositionalEncoding": {"grid": (6, 6)},
    "TimeEmbedding": {"width": 8, "frequencies": 4},
    "CrossTokenDecoder": {"width": 8, "output_dim": 4, "depth": 1, "num_heads": 2},
    "InverseBlockMasking": {"grid": (6, 6)},
    "TokenDecoder": {"width": 8, "output_dim": 4, "depth": 1, "num_heads": 2},
    "TransformerDecoderBlock": {"num_heads": 2, "hidden_dim": 16, "drop_path_rate": 0.1},
    "TransformerEncoderBlock": {"num_heads": 2, "hidden_dim": 16, "layer_scale": 0.1},
    "VectorQuantizer": {"codes": 5},
    "AsymmetricViews": {"pipelines": [augment.simclr_pipeline(12), [augment.GaussianBlur()]]},
    "ColorJitter": {"brightness": 0.8, "contrast": 0.7, "saturation": 0.6, "hue": 0.2},
    "FeatureQueue": {"size": 8},
    "FusedPipeline": {"layers": [augment.RandomResizedCrop(12), keras.layers.Rescaling(0.5)]},
    "MemoryBank": {"size": 8},
    "LocatedViews": {"views": augment.SimCLRViews(12)},
    "MultiCropViews": {"global_size": 12, "local_size": 8},
    "OnKey": {"key": 0, "pipeline": augment.RandomResizedCrop(12)},
    "RandomMasking": {"ratio": 0.5, "unit": 2},
    "ResidualMLPHead": {"width": 8, "depth": 1},
    "PatchGrid": {"size": 4, "strides": 2},
    "PatchViews": {"size": 8, "strides": 2, "pipeline": augment.RandomColorDrop()},
    "Pipeline": {"layers": [augment.RandomResizedCrop(12), augment.Grayscale()]},
    "ProjectionHead": {"widths": (8, 4)},
    "Prototypes": {"count": 5},
    "RandomPatchMask": {"grid": 4},
    "RandomResizedCrop": {"size": 12},
    "RandomTimeCrop": {"length": 12},
    "SimCLRViews": {"size": 12, "solarize_probability": 0.3},
    "StepPredictor": {"steps": 2},
    "Views": {"pipeline": augment.RandomResizedCrop(12)},
}

# layers of vectors alone, not of feature maps
CELLS = {"GRUCell", "LSTMCell", "MinimalGRUCell", "RNNCell"}
OF_VECTORS = {"FeatureQueue", "MemoryBank", "TimeEmbedding", *CELLS}
# layers of sequences of tokens, which the positions of a feature map are
OF_TOKENS = {
    "AdaptiveTransformerBlock",
    "AdditiveAttentionPooling",
    "AttentionPooling",
    "BidirectionalEncoder",
    "BlockMasking",
    "ClassToken",
    "InverseBlockMasking",
    "LearnedPositionalEmbedding",
    "MultiBlockMasking",
    "MultiHeadAttention",
    "RandomMasking",
    "RandomPrefix",
    "RecurrentLayer",
    "RegisterTokens",
    "SegmentEmbedding",
    "SinusoidalPositionalEncoding",
    "TransformerDecoderBlock",
    "TransformerEncoderBlock",
}
# layers of feature maps alone, not of vectors
OF_GRIDS = {
    *OF_TOKENS,
    "ConcatAndConvolve",
    "CrossTokenDecoder",
    "EncodeAndDotProduct",
    "MaskedContext",
    "PatchEmbedding",
    "PatchGrid",
    "RelativePositionBias",
    "RotaryEmbedding",
    "StepPredictor",
    "TokenDecoder",
}
# what layers that take more than one input make of a feature map
INPUTS = {
    **{name: lambda x: (keras.ops.reshape(x, (4, -1, 8)),) for name in OF_TOKENS},
    "AdaptiveLogSoftmax": lambda x: (x, keras.ops.cast(x[..., 0] > 0, "int32")),
    "AdaptiveTransformerBlock": lambda x: (keras.ops.reshape(x, (4, -1, 8)), x[:, 0, 0]),
    "Bilinear": lambda x: (x, x),
    "HyperDense": lambda x: (x, keras.ops.reshape(x, (4, -1, 8))[:, 0]),
    "RelativePositionBias": lambda x: (x, x),
    **{
        name: lambda x: (
            keras.ops.reshape(x, (4, -1, 8)),
            keras.ops.tile(np.arange(36, dtype="int32"), (4, 1)),
            keras.ops.tile(np.arange(36, 40, dtype="int32"), (4, 1)),
        )
        for name in ("CrossTokenDecoder", "TokenDecoder")
    },
    "TransformerDecoderBlock": lambda x: (keras.ops.reshape(x, (4, -1, 8)), x[:, 0]),
    "BilinearCritic": lambda x: (x, x),
    "ConcatAndConvolve": lambda x: (keras.ops.reshape(x, (4, -1, 8)), x[:, 0, 0]),
    "EncodeAndDotProduct": lambda x: (keras.ops.reshape(x, (4, -1, 8)), x[:, 0, 0]),
    "MaskToken": lambda x: ([x, x[..., 0] > 0],),
    "StepPredictor": lambda x: (x, x),
    "TimeEmbedding": lambda x: (x[:, 0],),
}
# how layers are called that take more than tensors of features
LAYER_CALLS = {
    **{name: lambda cell: partial(cell, states=cell.get_initial_state(4)) for name in CELLS},
    "CrossTokenDecoder": lambda layer: partial(layer, grid=(8, 5)),
    "TokenDecoder": lambda layer: partial(layer, grid=(8, 5)),
    "MemoryBank": lambda layer: partial(layer, indices=np.arange(4)),
}
# the shapes of what losses of more than two views are called with
LOSS_SHAPES = {
    "ContrastiveMargin": [(8,), (8, 2, 4)],
    "CosineEmbedding": [(8,), (8, 2, 4)],
    "CAPILoss": [(4, 6, 5), (4, 6, 5)],
    "CPCLoss": [(8, 3, 2, 4), (8, 4, 2, 4)],
    "DINOLoss": [(2, 8, 4), (5, 8, 4)],
    "FroSSLLoss": [(2, 8, 4)],
    "JensenShannonMI": [(8, 3, 3, 4), (8, 4)],
    "KLSparsity": [(8, 4)],
    "KoLeo": [(8, 4)],
    "L1Sparsity": [(8, 4)],
    "LeJEPALoss": [(2, 8, 4), (4, 6)],
    "MMCRLoss": [(2, 8, 4)],
    "MSNLoss": [(8, 4), (2, 8, 4)],
    "MarginRanking": [(8,), (8, 2)],
    "MultiClassHinge": [(8, 5)],
    "NCE": [(8, 5)],
    "NEG": [(8, 5)],
    "NegativeLogLikelihood": [(8, 5)],
    "PMSNLoss": [(8, 4), (2, 8, 4)],
    "SupConLoss": [(8, 2, 4)],
    "SwAVLoss": [(2, 8, 4), (3, 8, 4)],
    "TiCoLoss": [(8, 4), (8, 4), (4, 4)],
    "TokenDistillation": [(4, 6, 5), (4, 6, 5)],
    "TripletMargin": [(8,), (8, 3, 4)],
    "VICRegLLoss": [(2, 8, 4), (2, 8, 9, 4), (2, 8, 9, 2)],
    "WMSELoss": [(2, 8, 4)],
}
# how losses are called that take more than embeddings
LOSS_CALLS = {
    "NEG": lambda loss: lambda scores: loss(keras.ops.cast(scores > 0, "int32"), scores),
    **{
        name: lambda loss: lambda scores: loss(keras.ops.argmax(scores, axis=-1), scores)
        for name in ("MultiClassHinge", "NCE", "NegativeLogLikelihood")
    },
    "VICRegLLoss": lambda loss: lambda z, *local: loss(z, *map(keras.ops.unstack, local)),
    "SupConLoss": lambda loss: lambda z: loss(keras.ops.argmax(z[:, 0], axis=-1), z),
}


def classes(room, kind):
    """The public classes of a room that are of a kind, without the abstract ones."""
    found = {name: getattr(room, name) for name in room.__all__ if name not in ABSTRACT}
    return [one for one in found.values() if inspect.isclass(one) and issubclass(one, kind)]


def with_gradient(function, variables=()):
    """The function of floating-point inputs with the gradients for them and for variables."""

    def call(*inputs):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            results = keras.tree.flatten(function(*inputs))
            total = sum(tf.reduce_sum(tf.cast(result, "float32")) for result in results)
        watched = [*inputs, *(variable.value for variable in variables)]
        return results, tape.gradient(total, watched)

    return call


@pytest.fixture(params=["float32", "mixed_bfloat16"])
def policy(request, set_dtype_policy):
    set_dtype_policy(request.param)
    return request.param


@pytest.mark.few(10)
@pytest.mark.parametrize("make", classes(augment, keras.layers.Layer))
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_augmentation(make, dtype):
    layer = make(**ARGUMENTS.get(make.__name__, {}))
    spec = tf.TensorSpec((4, 16, 16, 3), dtype)
    assert function_tpu_obstacles(layer, (spec,) if make is augment.OnKey else spec) == []


@pytest.mark.parametrize(
    ("make", "shape"),
    [(make, (4, 8)) for make in classes(augment.tabular, keras.layers.Layer)]
    + [(make, (4, 16, 6)) for make in classes(augment.sequence, keras.layers.Layer)],
)
def test_augmentation_of_tables_and_sequences(make, shape):
    layer = make(**ARGUMENTS.get(make.__name__, {}))
    assert function_tpu_obstacles(partial(layer, training=True), tf.TensorSpec(shape)) == []


@pytest.mark.few(54)
@pytest.mark.parametrize("make", classes(layers, keras.layers.Layer))
@pytest.mark.parametrize("shape", [(4, 8), (4, 6, 6, 8)])
def test_layer_and_its_gradient(make, shape, policy):
    if len(shape) > 2 and make.__name__ in OF_VECTORS:
        pytest.skip("the layer takes vectors")
    if len(shape) == 2 and make.__name__ in OF_GRIDS:
        pytest.skip("the layer takes feature maps")
    layer = make(**ARGUMENTS.get(make.__name__, {}))
    inputs = INPUTS.get(make.__name__, lambda x: (x,))
    given = inputs(keras.ops.zeros(shape))
    layer.build(*keras.tree.map_structure(lambda one: tuple(one.shape), given))
    call = LAYER_CALLS.get(make.__name__, lambda layer: layer)(layer)
    for training in (True, False):
        step = with_gradient(
            lambda x, t=training: call(*inputs(x), training=t), layer.trainable_variables
        )
        assert function_tpu_obstacles(step, tf.TensorSpec(shape)) == []


@pytest.mark.few(20)
@pytest.mark.parametrize("make", classes(losses, keras.losses.Loss))
@pytest.mark.parametrize("chunk_size", [None, 2])
def test_loss_and_its_gradient(make, chunk_size):
    if chunk_size and "chunk_size" not in inspect.signature(make).parameters:
        pytest.skip("the loss takes no chunks")
    loss = make(chunk_size=chunk_size) if chunk_size else make()
    loss = LOSS_CALLS.get(make.__name__, lambda loss: loss)(loss)
    for dtype in ("float32", "bfloat16"):
        shapes = LOSS_SHAPES.get(make.__name__, [(8, 4), (8, 4)])
        inputs = [tf.TensorSpec(shape, dtype) for shape in shapes]
        assert function_tpu_obstacles(with_gradient(loss), *inputs) == []


@pytest.mark.parametrize("make", classes(optimizers, keras.optimizers.Optimizer))
def test_update_of_an_optimizer(make):
    variables = [keras.Variable(np.ones(shape, "float32")) for shape in ((3, 4), (4,))]
    schedule = keras.optimizers.schedules.CosineDecay(0.1, 100, warmup_target=1.0, warmup_steps=10)
    settings = {"weight_decay": 1e-4, "global_clipnorm": 1.0, "use_ema": True}
    is_wrapper = "inner_optimizer" in inspect.signature(make).parameters
    optimizer = (keras.optimizers.SGD if is_wrapper else make)(schedule, **settings)
    if is_wrapper:
        optimizer = make(optimizer)
    optimizer.build(variables)

    def step(*gradients):
        if hasattr(optimizer, "apply_with_closure"):
            optimizer.apply_with_closure(gradients, variables, lambda: gradients)
        else:
            optimizer.apply(gradients, variables)

    specs = [tf.TensorSpec(variable.shape) for variable in variables]
    assert function_tpu_obstacles(step, *specs) == []


@pytest.mark.few(2)
@pytest.mark.parametrize("make", [networks.resnet18, networks.resnet50, networks.small_resnet])
def test_network_and_its_gradient(make, policy):
    model = make(input_shape=(32, 32, 3), width=4)
    step = with_gradient(lambda x: model(x, training=True), model.trainable_variables)
    assert function_tpu_obstacles(step, tf.TensorSpec((2, 32, 32, 3))) == []


@pytest.mark.few(1)
def test_vision_transformer_and_its_gradient(policy):
    """On images of another size, and on some patches of images."""
    model = networks.vit(
        (16, 2, 2), (32, 32, 3), 8, registers=2, pooling="attention", drop_path_rate=0.1
    )

    indices = np.array([[0, 5, 7], [3, 4, 23]], "int32")

    def run(images):
        tokens = keras.ops.take_along_axis(model.embed(images), indices[:, :, None], axis=1)
        hidden = model.encode(tokens, model.grid(images.shape), indices=indices, training=True)
        return model(images, training=True) + hidden["features"]

    step = with_gradient(run, model.trainable_variables)
    assert function_tpu_obstacles(step, tf.TensorSpec((2, 48, 32, 3))) == []


def with_gradient_of_weights(model):
    def call(*inputs):
        with tf.GradientTape() as tape:
            total = tf.reduce_sum(model(*inputs, training=True))
        return total, tape.gradient(total, [weight.value for weight in model.trainable_weights])

    return call


def test_blocks_of_denoisers_and_their_gradients():
    """Computed again in the backward pass; the network itself is in the contract of its trainer."""
    like = {"remat": True, "dtype": "mixed_bfloat16"}
    block = ResidualBlock(4, 2, time="scale_shift", dropout_rate=0.1, **like)
    attention = AttentionBlock(2, 2, **like)
    block.build((2, 4, 4, 8), (2, 6))
    attention.build((2, 4, 4, 4), (2, 3, 5))

    def run(x, time, tokens, training=True):
        return attention(block(x, time, training=training), tokens, training=training)

    step = with_gradient(run, block.trainable_weights + attention.trainable_weights)
    specs = [tf.TensorSpec(shape) for shape in ((2, 4, 4, 8), (2, 6), (2, 3, 5))]
    assert function_tpu_obstacles(step, *specs) == []


@pytest.mark.parametrize(
    "make",
    [
        lambda: networks.unet((8, 8, 2), widths=(2, 4)),
        lambda: networks.conv_encoder((8, 8, 2), (4,), features=3, blocks=1),
        lambda: networks.conv_decoder((8, 8, 2), (4,), channels=3, blocks=1),
        lambda: networks.dcgan_generator((8, 8, 2), 3, 4),
        lambda: networks.dcgan_discriminator((8, 8, 2), 4, spectral_normalization=True),
        lambda: networks.resnet_generator((8, 8, 2), 3, 4),
    ],
)
def test_networks_that_generate_and_their_gradients(make, set_dtype_policy):
    set_dtype_policy("mixed_bfloat16")
    model = make()
    spec = tf.TensorSpec((2, *model.input_shape[1:]))
    assert function_tpu_obstacles(with_gradient_of_weights(model), spec) == []


@pytest.mark.few(1)
@pytest.mark.parametrize(
    "make", [networks.gpt2, networks.bert, networks.transformer, networks.RecurrentEncoder]
)
def test_networks_of_text_and_their_gradients(make, set_dtype_policy):
    set_dtype_policy("mixed_bfloat16")
    if make is networks.RecurrentEncoder:
        model = make(11, 8, pooling="attention")
    else:
        model = make((8, 1, 2), 11, remat=True)
    ids = np.arange(10, dtype="int32").reshape(2, 5)
    inputs = {"token_ids": ids, "padding_mask": ids > 0}
    if make is networks.transformer:
        inputs = {"encoder_token_ids": ids, "decoder_token_ids": ids}
    elif make is networks.gpt2:
        inputs["document_ids"] = ids // 3

    def run(factor):
        return keras.ops.cast(factor, "bfloat16") * model(inputs, training=True)

    step = with_gradient(run, model.trainable_variables)
    assert function_tpu_obstacles(step, tf.TensorSpec(())) == []


def test_perceiver_and_its_gradients(set_dtype_policy):
    set_dtype_policy("mixed_bfloat16")
    model = networks.perceiver_io((3, 8, 1, 2), (None, 5), query_width=4, output_dim=2, repeats=2)
    inputs = {"padding_mask": np.arange(6) < [[6], [4]], "queries": np.ones((2, 7, 4), "float32")}

    def run(x):
        return model({**inputs, "inputs": x}, training=True)

    step = with_gradient(run, model.trainable_variables)
    assert function_tpu_obstacles(step, tf.TensorSpec((2, 6, 5))) == []


class RoundedShift(augment.GeometricAugmentation):
    """Moves an image by whole rows, which NumPy rounds: Python on the host."""

    uniforms_per_image = 1

    def parameters(self, uniforms, image_shape):
        rows = tf.numpy_function(np.round, [3 * uniforms[:, 0]], tf.float32)
        return tf.ensure_shape(rows, uniforms.shape[:1])

    def fold(self, maps, parameters, image_shape):
        at = keras.ops.arange(image_shape[0], dtype="float32")
        moved = at[:, None] - at == parameters[:, None, None]
        return maps.then(rows=keras.ops.cast(moved, "float32"))


def test_custom_augmentation_is_walked():
    pipeline = augment.FusedPipeline([RoundedShift(), augment.Grayscale()])
    found = function_tpu_obstacles(pipeline, tf.TensorSpec((4, 8, 8, 3)))
    assert [one.op for one in found] == ["PyFunc"] and "np.round" in found[0].line


class RoundedColor(augment.ColorAugmentation):
    """Has Python on the host in the part that XLA compiles wherever a pipeline is in a graph."""

    def parameters(self, uniforms, image_shape):
        return uniforms

    def color_map(self, parameters, channels):
        identity = tf.numpy_function(np.round, [tf.eye(channels)], tf.float32)
        identity = tf.ensure_shape(identity, (channels, channels))[None]
        return augment.ColorMap(identity, identity, tf.zeros((1, channels)))


def test_functions_that_pipelines_compile_are_walked_and_rejected_by_xla_on_a_cpu():
    pipeline = augment.FusedPipeline([augment.Grayscale(), RoundedColor()])
    spec = tf.TensorSpec((4, 8, 8, 3))
    found = function_tpu_obstacles(pipeline, spec)
    assert [one.op for one in found] == ["PyFunc"] and "np.round" in found[0].line
    with pytest.raises(tf.errors.InvalidArgumentError, match="PyFunc"):
        tf.function(pipeline)(tf.zeros(spec.shape))


def test_a_layer_of_keras_that_a_tpu_cannot_run():
    found = function_tpu_obstacles(
        augment.FusedPipeline([keras.layers.RandAugment()]), tf.TensorSpec((4, 8, 8, 3), "uint8")
    )
    assert "ImageProjectiveTransformV3" in {one.op for one in found}
