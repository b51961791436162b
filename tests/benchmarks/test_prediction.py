"""The formulas behind docs/scaling.md: against rings played by hand, and published sizes."""

import dataclasses

import keras
import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")
if keras.backend.backend() != "tensorflow":
    pytest.skip("needs the TensorFlow backend", allow_module_level=True)

from benchmarks.prediction import hardware  # noqa: E402
from benchmarks.prediction.efficiency import efficiency, seconds_to_compute  # noqa: E402
from benchmarks.prediction.kept import kept_bytes, kept_bytes_by_example  # noqa: E402
from benchmarks.prediction.memory import memory, similarities  # noqa: E402
from benchmarks.prediction.simclr import simclr_resnet50, similarity_bytes  # noqa: E402
from benchmarks.prediction.traffic import (  # noqa: E402
    all_gather,
    all_reduce,
    batch_where_gathering_matters,
    gather_gradient,
    traffic,
)
from benchmarks.prediction.vision_transformer import Transformer, patch_embedding  # noqa: E402
from benchmarks.prediction.workloads import dino_vit_small, mae_vit_base  # noqa: E402


@pytest.fixture(scope="module")
def simclr():
    return simclr_resnet50()


# Traffic


def play_all_reduce(values):
    """Sum `values`, one row per device, by a ring; also return what the first device sent."""
    devices = len(values)
    parts = [np.array_split(row.copy(), devices) for row in values]
    sent = 0
    for turn in range(2 * (devices - 1)):
        adds = turn < devices - 1
        messages = []
        for device in range(devices):
            part = (device - turn) % devices
            messages.append(((device + 1) % devices, part, parts[device][part].copy()))
            sent += parts[device][part].nbytes if device == 0 else 0
        for receiver, part, content in messages:
            parts[receiver][part] = parts[receiver][part] + content if adds else content
    return np.array([np.concatenate(row) for row in parts]), sent


@pytest.mark.parametrize("devices", [1, 2, 3, 5, 8])
def test_all_reduce_is_what_a_ring_sends(devices, rng):
    values = rng.normal(size=(devices, 120))
    result, sent = play_all_reduce(values)
    np.testing.assert_allclose(result, np.tile(values.sum(axis=0), (devices, 1)))
    assert all_reduce(values[0].nbytes, devices) == pytest.approx(sent)


def play_all_gather(devices, size):
    """What one device sends when each hands on what it got last, until all have all."""
    held = [{device} for device in range(devices)]
    last, sent = list(range(devices)), 0
    while any(len(one) < devices for one in held):
        last = [last[device - 1] for device in range(devices)]
        for device in range(devices):
            held[device].add(last[device])
        sent += size
    return sent


@pytest.mark.parametrize("devices", [1, 2, 3, 8])
def test_all_gather_is_what_a_ring_sends(devices):
    assert all_gather(64, devices) == play_all_gather(devices, 64)
    assert gather_gradient(64, devices) == pytest.approx(all_reduce(64 * devices, devices))


@pytest.mark.full
def test_one_device_sends_nothing(simclr):
    assert traffic(simclr, 1, 64).total == 0


def test_gathering_matters_where_it_says(simclr):
    for devices in (2, 64, 4096):
        batch = batch_where_gathering_matters(simclr, ratio=0.5)
        sent = traffic(simclr, devices, batch / devices)
        assert sent.gathered / sent.gradient == pytest.approx(0.5)


# Networks


def test_vision_transformers_have_their_published_size():
    def network(depth, width, heads):
        # timm's vit_*_patch16_224 with num_classes=0: class token and learned positions
        blocks = Transformer(depth, width, heads)
        return blocks.parameters + patch_embedding(16, width) + 198 * width

    assert network(12, 384, 6) == 21_665_664
    assert network(12, 768, 12) == 85_798_656
    # the decoder's and encoder's fixed positions count in the 111,907,840 that MAE's code prints
    assert mae_vit_base().parameters == 111_907_840 - 197 * (768 + 512)


def test_a_transformer_counts_what_the_operations_of_a_block_are():
    blocks, tokens = Transformer(depth=1, width=8, heads=2), 5
    matmuls = [(tokens, 8, 24), (tokens, 8, 8), (tokens, 8, 32), (tokens, 32, 8)]
    matmuls += [(tokens, 4, tokens), (tokens, tokens, 4)] * 2  # of each head
    assert blocks.operations(tokens) == sum(2 * a * b * c for a, b, c in matmuls)


def test_kept_numbers_of_a_transformer_block_are_those_of_a_traced_one():
    width, heads, tokens = 16, 2, 6
    make = keras.layers.Dense
    qkv, projection = make(3 * width), make(width)
    first, second = make(4 * width), make(width)
    norm = keras.layers.LayerNormalization(center=False, scale=False)

    @tf.custom_gradient
    def normalize(x):  # one operation that keeps its input, as fused kernels do
        return norm(x), lambda dy: dy * x

    def forward(x):
        x = x * 1.0  # not the step's input, which is not counted
        q, k, v = tf.split(qkv(normalize(x)), 3, axis=-1)
        q, k, v = (
            tf.transpose(tf.reshape(t, (-1, tokens, heads, width // heads)), (0, 2, 1, 3))
            for t in (q, k, v)
        )
        weights = tf.nn.softmax(tf.matmul(q, k, transpose_b=True))
        mixed = tf.reshape(tf.transpose(tf.matmul(weights, v), (0, 2, 1, 3)), (-1, tokens, width))
        x = x + projection(mixed)
        return x + second(tf.nn.gelu(first(normalize(x)), approximate=False))

    forward(tf.zeros((1, tokens, width)))
    layers = (qkv, projection, first, second)
    variables = [w.value for layer in layers for w in layer.trainable_weights]
    kept = kept_bytes_by_example(forward, variables, tf.TensorSpec((tokens, width)))
    expected = 4 * Transformer(1, width, heads).kept(tokens)
    # unfused gelu keeps two more tensors of the MLP's width
    assert expected <= kept <= expected + 2 * 4 * (4 * width * tokens)


def test_resnet50_has_its_published_size_and_operations(simclr):
    projector = 2048 * 2048 + 2048 + 2048 * 128
    assert abs(simclr.parameters - (23_508_032 + projector)) < 5_000
    # 4.09 G multiply-adds for 224 x 224, as torchvision's resnet50 has before its classifier
    assert simclr.forward_operations / 2 / 2e9 == pytest.approx(4.09, abs=0.01)
    # 11.1 M outputs of convolutions, 16 bits each, and somewhat fewer of activations
    assert 1.5 * 11.1e6 * 2 < simclr.kept_bytes / 2 < 2.5 * 11.1e6 * 2


def test_dino_has_two_networks_of_one_size():
    dino = dino_vit_small()
    # backbone, and the head's three layers and prototypes
    head = 385 * 2048 + 2049 * 2048 + 2049 * 256 + 256 * 65536
    assert dino.parameters == dino.teacher_parameters == 21_665_664 + head
    assert dino.operations < 4 * dino.forward_operations


# What the backward pass reads


def test_kept_bytes_of_dense_layers():
    hidden, out = keras.layers.Dense(8, activation="relu"), keras.layers.Dense(3)
    out(hidden(tf.zeros((1, 4))))
    variables = [w.value for layer in (hidden, out) for w in layer.trainable_weights]

    def forward(x):
        return out(hidden(x))

    # the activation's output, for its own gradient and for the weights after it
    assert kept_bytes(forward, variables, tf.TensorSpec((5, 4))) == 5 * 8 * 4
    assert kept_bytes_by_example(forward, variables, tf.TensorSpec((4,))) == 8 * 4


def test_kept_bytes_count_a_tensor_once_and_no_weights():
    weight = tf.Variable(tf.ones((4, 4)))

    def forward(x):
        y = tf.reshape(tf.exp(x), (-1, 4))
        return [tf.matmul(y, weight), tf.square(y), tf.cast(weight, tf.float64)[0]]

    # exp keeps its output, which the other two read as well
    assert kept_bytes(forward, [weight], tf.TensorSpec((6, 4))) == 6 * 4 * 4


def test_the_loss_keeps_its_matrix():
    assert 4 <= similarity_bytes() <= 16


# Memory


def test_micro_batches_and_chunks_hold_less(simclr):
    plain = memory(simclr, 64, 64)
    small = memory(simclr, 64, 64, micro_batch=16, chunk_size=512)
    assert small["activations"] * 4 == plain["activations"]
    assert small["similarities"] < plain["similarities"]
    assert plain["gradients"] == 2 * 4 * simclr.parameters
    assert memory(simclr, 1, 64)["gradients"] == 4 * simclr.parameters


def test_the_matrix_is_square_on_one_device(simclr):
    assert similarities(simclr, 1, 100) == 200**2 * simclr.kept_by_similarity
    assert similarities(mae_vit_base(), 1, 100) == 0


# Efficiency


def test_efficiency_is_whole_where_nothing_is_sent(simclr):
    for system in hardware.SYSTEMS:
        assert efficiency(simclr, system, 1, 64, overlapped=False) == 1


def test_efficiency_falls_with_slower_networks_and_rises_with_overlap(simclr):
    by_network = [
        efficiency(simclr, system, 64, 64, overlapped=False) for system in hardware.SYSTEMS[:3]
    ]
    assert by_network == sorted(by_network)
    for system in hardware.SYSTEMS:
        apart, together = (efficiency(simclr, system, 64, 64, overlapped=o) for o in (False, True))
        assert 0 < apart <= together <= 1


def test_half_the_time_in_the_gradient_is_half_the_efficiency():
    mae = mae_vit_base()
    base = hardware.SYSTEMS[0]
    compute = seconds_to_compute(mae, base, 64)
    bandwidth = traffic(mae, 64, 64).gradient / compute
    system = dataclasses.replace(base, between_hosts=bandwidth, within_host=bandwidth)
    assert efficiency(mae, system, 64, 64, overlapped=False) == pytest.approx(0.5, abs=0.01)
    # two thirds of it hide behind the backward pass
    assert efficiency(mae, system, 64, 64, overlapped=True) == pytest.approx(0.75, abs=0.01)


def test_more_devices_than_a_pod_has_are_not_predicted(simclr):
    v5e = next(system for system in hardware.SYSTEMS if "v5e" in system.name)
    assert efficiency(simclr, v5e, 512, 64, overlapped=True) is None
