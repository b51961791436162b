"""Every trainer, small, with the data it takes: add a `Case` and the whole contract covers it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import keras
import numpy as np

from keras_ssl import augment, data, layers, losses, optimizers, trainers
from tests.trainers.methods.gan import GAN
from tests.trainers.methods.masked_tokens import MaskedTokenModel
from tests.trainers.methods.vae import VAE


@cache
def images() -> tuple[np.ndarray, np.ndarray]:
    """Return 256 real images of 28x28 and their labels."""
    x, y = next(iter(data.load_images("fashion_mnist_mini", "train[:256]").batch(256)))
    return x.numpy(), y.numpy()


@cache
def scaled_images() -> np.ndarray:
    """Return the images as floats in [0, 1], flat."""
    return images()[0].reshape(256, -1).astype("float32") / 255


@cache
def tokens() -> np.ndarray:
    """Return the middle rows of the images as 28 integer tokens of 1 to 8: grey levels."""
    return images()[0][:, 14, :, 0].astype("int32") // 32 + 1


def encoder(normalize: bool = False, size: int | None = 28) -> keras.Model:
    """Make a convolutional encoder of a few thousand weights; of any size with `size=None`."""
    blocks = [
        keras.layers.Input((size, size, 1)),
        keras.layers.Rescaling(1 / 127.5, offset=-1),
        keras.layers.Conv2D(8, 3, strides=2, padding="same"),
        layers.SyncBatchNormalization() if normalize else keras.layers.Identity(),
        keras.layers.ReLU(),
        keras.layers.Conv2D(16, 3, strides=2, padding="same", activation="relu"),
        keras.layers.GlobalAveragePooling2D(),
    ]
    return keras.Sequential(blocks)


def dense(*widths: int, inputs: int, last: str | None = None) -> keras.Model:
    """Make a perceptron with ReLU between its layers."""
    hidden = [keras.layers.Dense(width, "relu") for width in widths[:-1]]
    return keras.Sequential(
        [keras.layers.Input((inputs,)), *hidden, keras.layers.Dense(widths[-1], last)]
    )


@dataclass(frozen=True)
class Case:
    """A trainer of small size and what the contract asks of it.

    Attributes:
        make: returns the trainer, of seeded weights.
        x: returns the input, at least 64 examples.
        optimizer: returns what `compile` takes, for the learning test.
        falls: the named loss that must fall in training.
        bad_data: pairs of input that the trainer must refuse and a pattern of the message.
        normalized: whether the networks hold batch normalisation.
        labelled: whether the method learns from labels, those of `images`.
    """

    make: Callable[[], trainers.SelfSupervisedModel]
    x: Callable[[], Any]
    falls: str
    optimizer: Callable[[], Any] = field(default=lambda: keras.optimizers.Adam(3e-3))
    sgd: Callable[[], Any] = field(default=lambda: keras.optimizers.SGD(0.05))
    bad_data: tuple[tuple[Any, str], ...] = ()
    normalized: bool = False
    labelled: bool = False

    def first(self, count: int) -> Any:
        """Return the first examples of the input."""
        return keras.tree.map_structure(lambda one: one[:count], self.x())

    def y(self) -> np.ndarray | None:
        """Return the labels that the method learns from, or `None`."""
        return images()[1] if self.labelled else None


def _simclr(normalize: bool = False, loss: keras.losses.Loss | None = None) -> trainers.SimCLR:
    return trainers.SimCLR(
        encoder(normalize),
        projector=layers.ProjectionHead((32, 16), normalization=normalize),
        augment=augment.SimCLRViews(28, scale=(0.3, 1.0), seed=0),
        loss=loss or losses.NTXent(temperature=0.2),
    )


def _centered_head() -> layers.ProjectionHead:
    """Make a projector whose embeddings are unlike from the start, as a queue's random ones are."""
    return layers.ProjectionHead((32, 16), normalization=False, last_normalization=True)


def _moco() -> trainers.MoCo:
    return trainers.MoCo(
        encoder(),
        projector=_centered_head(),
        augment=augment.SimCLRViews(28, scale=(0.6, 1.0), strength=0.3, seed=0),
        queue=layers.FeatureQueue(64, seed=0),
        momentum=0.9,
    )


def _moco_v3() -> trainers.MoCoV3:
    return trainers.MoCoV3(
        encoder(),
        projector=_centered_head(),
        predictor=_centered_head(),
        augment=augment.SimCLRViews(28, scale=(0.3, 1.0), seed=0),
        momentum=0.9,
    )


def _dino() -> trainers.DINO:
    return trainers.DINO(
        encoder(size=None),
        _centered_head(),
        layers.Prototypes(32),
        augment.MultiCropViews(28, 14, local_count=2, seed=0),
        teacher_temperature=keras.optimizers.schedules.PolynomialDecay(0.04, 8, 0.07),
        momentum=optimizers.cosine_momentum(0.9, steps=100),
        freeze_steps=2,
    )


def _classifier(width: int, scale: float = 1.0) -> keras.Model:
    """Make a classifier with a hidden layer that has a name; a large scale makes it sure."""
    kernel = keras.initializers.VarianceScaling(scale)
    return keras.Sequential(
        [
            keras.layers.Input((28, 28, 1)),
            *encoder().layers,
            keras.layers.Dense(width, "relu"),
            keras.layers.Dense(16, "relu", name="hidden"),
            keras.layers.Dense(10, kernel_initializer=kernel),
        ]
    )


def _knowledge_distillation() -> trainers.KnowledgeDistillation:
    return trainers.KnowledgeDistillation(
        _classifier(16),
        teacher=_classifier(32, scale=100.0),
        distillation_losses=[
            keras.distillation.LogitsDistillation(temperature=2.0),
            keras.distillation.FeatureDistillation("mse", "hidden", "hidden"),
        ],
        distillation_loss_weights=[1.0, 0.1],
    )


def _nnclr() -> trainers.NNCLR:
    return trainers.NNCLR(
        encoder(),
        projector=_centered_head(),
        predictor=layers.PredictionHead(32, normalization=False),
        augment=augment.SimCLRViews(28, scale=(0.3, 1.0), seed=0),
        queue=layers.FeatureQueue(64, seed=0),
    )


def _deep_info_max() -> trainers.DeepInfoMax:
    network = encoder()
    return trainers.DeepInfoMax(
        network,
        map_layer=network.layers[-2].name,
        global_critic=layers.ConcatAndConvolve((8, 8)),
        local_critic=layers.EncodeAndDotProduct(16, normalization=False),
        global_weight=0.5,
    )


def _swav() -> trainers.SwAV:
    return trainers.SwAV(
        encoder(size=None),
        layers.ProjectionHead((32, 16), normalization=False, last_normalization=True),
        layers.Prototypes(8, kernel_constraint="unit_norm"),
        augment.MultiCropViews(28, 14, local_count=2, seed=0),
        queue=layers.FeatureQueue(64, seed=0),
        freeze_steps=2,
        queue_from_step=3,
    )


def _deep_cluster() -> trainers.DeepClusterV2:
    # views that are alike, since few images tell little of the others
    views = augment.MultiCropViews(
        28,
        14,
        local_count=2,
        global_scale=(0.7, 1.0),
        local_scale=(0.3, 0.7),
        solarize_probability=(0.0, 0.0, 0.0),
        seed=0,
    )
    trainer = trainers.DeepClusterV2(
        encoder(size=None),
        layers.MemoryBank(256, momentum=0.0, seed=0),
        layers.ProjectionHead((32, 16), normalization=False, last_normalization=True),
        prototypes=(8, 6),
        augment=views,
        temperature=0.2,
        seed=0,
    )
    # an epoch without clusters would have no gradient
    trainer.assignments.assign([np.arange(256) % 8, np.arange(256) % 6])
    return trainer


def _cpc() -> trainers.CPC:
    return trainers.CPC(
        encoder(size=None),
        augment=augment.PatchViews(12, 8, augment.ColorJitter(0.2, 0.2), seed=0),
        context=layers.MaskedContext(blocks=1, width=8),
        projector=keras.layers.Dense(8),
        steps=(1,),
        directions=("down", "left"),
    )


def _sequence_cpc() -> trainers.SequenceCPC:
    return trainers.SequenceCPC(
        keras.Sequential(
            [
                keras.layers.Input((28, 28)),
                keras.layers.Conv1D(16, 4, strides=2, activation="relu"),
                keras.layers.Conv1D(16, 3, activation="relu"),
            ]
        ),
        context=keras.layers.GRU(8, return_sequences=True),
        steps=2,
    )


def _instance_discrimination() -> trainers.InstanceDiscrimination:
    return trainers.InstanceDiscrimination(
        encoder(),
        bank=layers.MemoryBank(256, seed=0),
        projector=_centered_head(),
        augment=augment.RandomResizedCrop(28, scale=(0.8, 1.0), seed=0),
        temperature=0.5,
        noise_samples=64,
        proximal_weight=0.5,
        seed=0,
    )


def _msn() -> trainers.MSN:
    masked = [
        augment.simclr_pipeline(28, scale=(0.6, 1.0)),
        augment.RandomPatchMask(7, 0.15),
    ]
    return trainers.MSN(
        encoder(size=None),
        _centered_head(),
        layers.Prototypes(16),
        augment.AsymmetricViews(
            [
                augment.simclr_pipeline(28, scale=(0.6, 1.0)),
                masked,
                augment.simclr_pipeline(14, scale=(0.2, 0.5)),
            ],
            seed=0,
        ),
        momentum=0.9,
    )


def _zeros(*shape: int, dtype: str = "float32") -> np.ndarray:
    return np.zeros(shape, dtype)


def _indexed(images: np.ndarray) -> dict[str, np.ndarray]:
    return {"image": images, "index": np.arange(len(images))}


BAD_IMAGES = (
    (_zeros(64, 28, 28), "rank 4|batch, height, width, channels"),
    (_zeros(64, 28, 28, 3), "axis -1 of input shape to have value 1"),
    (_zeros(0, 28, 28, 1), "no data"),
)

BAD_ONE_VIEW = BAD_IMAGES[1:]  # where the encoder says what it takes

CASES = {
    "SimCLR": Case(
        make=_simclr,
        x=lambda: images()[0],
        falls="contrastive",
        bad_data=BAD_IMAGES,
    ),
    "SimCLR with batch norm": Case(
        make=lambda: _simclr(normalize=True),
        x=lambda: images()[0],
        falls="contrastive",
        bad_data=BAD_IMAGES,
        normalized=True,
    ),
    "SimCLR with DCL": Case(
        make=lambda: _simclr(loss=losses.DCL(temperature=0.2)),
        x=lambda: images()[0],
        falls="contrastive",
        bad_data=BAD_IMAGES,
    ),
    "SimCLR with DCLW": Case(
        make=lambda: _simclr(loss=losses.DCLW(temperature=0.2)),
        x=lambda: images()[0],
        falls="contrastive",
        bad_data=BAD_IMAGES,
    ),
    "SupCon": Case(
        make=lambda: trainers.SupCon(
            encoder(),
            projector=layers.ProjectionHead((32, 16), normalization=False),
            augment=augment.SimCLRViews(28, scale=(0.3, 1.0), seed=0),
            loss=losses.SupCon(temperature=0.2),
        ),
        x=lambda: images()[0],
        falls="contrastive",
        bad_data=BAD_IMAGES,
        labelled=True,
    ),
    "DeepInfoMax": Case(
        make=_deep_info_max,
        x=lambda: images()[0],
        falls="local",
        sgd=lambda: keras.optimizers.SGD(0.01),  # layer normalisation of few units
        bad_data=BAD_ONE_VIEW,
    ),
    "MoCo": Case(
        make=_moco,
        x=lambda: images()[0],
        falls="contrastive",
        optimizer=lambda: keras.optimizers.Adam(1e-2),
        bad_data=BAD_IMAGES,
        normalized=True,
    ),
    "NNCLR": Case(
        make=_nnclr,
        x=lambda: images()[0],
        falls="contrastive",
        optimizer=lambda: keras.optimizers.Adam(1e-2),
        # Batch norm makes much of a bit, and another nearest neighbour makes another run: with
        # these seeds and this rate the two nearest differ in similarity by 1e-4 or more.
        sgd=lambda: keras.optimizers.SGD(0.005),
        bad_data=BAD_IMAGES,
        normalized=True,
    ),
    "CPC": Case(
        make=_cpc,
        x=lambda: images()[0],
        falls="step_1",
        bad_data=(*BAD_IMAGES, (_zeros(64, 10, 10, 1), "`size` must not be larger")),
    ),
    "SequenceCPC": Case(
        make=_sequence_cpc,
        x=lambda: scaled_images().reshape(256, 28, 28),
        falls="step_1",
        bad_data=(
            (_zeros(64, 28), "incompatible shape"),
            (_zeros(64, 28, 3), "axis -1 of input shape to have value 28|incompatible shape"),
            (_zeros(0, 28, 28), "no data"),
        ),
    ),
    "InstanceDiscrimination": Case(
        make=_instance_discrimination,
        x=lambda: {"image": images()[0], "index": np.arange(256)},
        falls="contrastive",
        optimizer=lambda: keras.optimizers.Adam(1e-2),
        sgd=lambda: keras.optimizers.SGD(0.005),  # batch norm in the head makes much of a bit
        bad_data=(
            (_zeros(64, 28, 28, 1), "with_index"),
            (_indexed(_zeros(64, 28, 28)), "rank 4|batch, height, width, channels"),
            (_indexed(_zeros(64, 28, 28, 3)), "axis -1 of input shape to have value 1"),
            (_indexed(_zeros(300, 28, 28, 1)), "from 0 to 255.*size=256 and indices from 0 to 299"),
            (_indexed(_zeros(0, 28, 28, 1)), "no data"),
        ),
        normalized=True,
    ),
    "BYOL": Case(
        make=lambda: trainers.BYOL(
            encoder(),
            layers.ProjectionHead((32, 16), normalization=False),
            layers.ProjectionHead((32, 16), normalization=False),
            augment.SimCLRViews(28, seed=0),
            momentum=optimizers.cosine_momentum(0.9, steps=100),
        ),
        x=lambda: images()[0],
        falls="regression",
        bad_data=BAD_IMAGES,
    ),
    "SimSiam": Case(
        make=lambda: trainers.SimSiam(
            encoder(),
            layers.ProjectionHead((32, 16), normalization=False),
            layers.ProjectionHead((8, 16), normalization=False),
            augment.SimCLRViews(28, seed=0),
        ),
        x=lambda: images()[0],
        falls="similarity",
        bad_data=BAD_IMAGES,
    ),
    "DINO": Case(
        make=_dino,
        x=lambda: images()[0],
        falls="distillation",
        bad_data=BAD_IMAGES,
        normalized=True,
    ),
    "KnowledgeDistillation": Case(
        make=_knowledge_distillation,
        x=lambda: images()[0],
        falls="distillation",
        bad_data=BAD_ONE_VIEW,
        labelled=True,
    ),
    "SwAV": Case(
        make=_swav,
        x=lambda: images()[0],
        falls="swapped_prediction",
        sgd=lambda: keras.optimizers.SGD(0.005),  # codes make 20 times as much of a last bit
        bad_data=BAD_IMAGES,
        normalized=True,
    ),
    "DeepClusterV2": Case(
        make=_deep_cluster,
        x=lambda: _indexed(images()[0]),
        falls="clustering",
        bad_data=(
            (_zeros(64, 28, 28, 1), "with_index"),
            *((_indexed(x), message) for x, message in BAD_IMAGES),
        ),
        normalized=True,
    ),
    "MSN": Case(
        make=_msn,
        x=lambda: images()[0],
        falls="assignment",
        optimizer=lambda: keras.optimizers.Adam(1e-2),
        sgd=lambda: keras.optimizers.SGD(0.005),  # a temperature of 1/40 makes much of a bit
        bad_data=BAD_IMAGES,
        normalized=True,
    ),
    "BarlowTwins": Case(
        make=lambda: trainers.BarlowTwins(
            encoder(),
            layers.ProjectionHead((32, 16), normalization=False),
            augment.SimCLRViews(28, seed=0),
        ),
        x=lambda: images()[0],
        falls="redundancy",
        sgd=lambda: keras.optimizers.SGD(0.005),  # a sum over features
        bad_data=BAD_IMAGES,
    ),
    "VICReg": Case(
        make=lambda: trainers.VICReg(
            encoder(),
            layers.ProjectionHead((32, 16), normalization=False),
            augment.SimCLRViews(28, seed=0),
        ),
        x=lambda: images()[0],
        falls="variance",
        sgd=lambda: keras.optimizers.SGD(0.005),  # for weights of 25
        bad_data=BAD_IMAGES,
    ),
    "MoCoV3": Case(
        make=_moco_v3,
        x=lambda: images()[0],
        falls="contrastive",
        optimizer=lambda: keras.optimizers.Adam(1e-2),
        sgd=lambda: keras.optimizers.SGD(0.005),  # batch norm in both heads makes much of a bit
        bad_data=BAD_IMAGES,
        normalized=True,
    ),
    "VAE": Case(
        make=lambda: VAE(
            dense(64, 16, inputs=784), dense(64, 784, inputs=8, last="sigmoid"), seed=0
        ),
        x=scaled_images,
        falls="reconstruction",
        bad_data=((_zeros(0, 784), "no data"), (_zeros(64, 10), "784")),
    ),
    "GAN": Case(
        make=lambda: GAN(dense(32, 16, inputs=784), dense(64, 784, inputs=8, last="sigmoid")),
        x=scaled_images,
        falls="discriminator",
        optimizer=lambda: {
            "discriminator": keras.optimizers.Adam(1e-3),
            "generator": keras.optimizers.Adam(1e-4),
        },
        sgd=lambda: {
            "discriminator": keras.optimizers.SGD(0.05),
            "generator": keras.optimizers.SGD(0.05),
        },
        bad_data=((_zeros(0, 784), "no data"), (_zeros(64, 10), "784")),
    ),
    "masked tokens": Case(
        make=lambda: MaskedTokenModel(
            keras.Sequential(
                [
                    keras.layers.Input((28,), dtype="int32"),
                    keras.layers.Embedding(9, 8),
                    keras.layers.Conv1D(16, 5, padding="same", activation="relu"),
                ]
            ),
            vocabulary=9,
        ),
        x=tokens,
        falls="masked_tokens",
        bad_data=((_zeros(64, 28), "integer tokens"), (_zeros(64, 28, 1, dtype="int32"), "tokens")),
    ),
}

# One of each shape of method: views and a loss over the batch, with batch normalisation, a teacher,
# sampling, two optimizers, integer input. The others run the costly part of the contract when the
# slow tests run.
DEFAULT_CASES = ("SimCLR", "SimCLR with batch norm", "BYOL", "VAE", "GAN", "masked tokens")
