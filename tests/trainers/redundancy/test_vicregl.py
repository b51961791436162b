"""VICRegL: its loss, the places of positions, errors."""

import keras
import numpy as np
import pytest

from keras_ssl import augment, layers, losses, trainers
from tests.trainers.case import Case, zeros
from tests.trainers.small import encoder, images


def small_vicregl() -> trainers.VICRegL:
    network = encoder(size=None)
    return trainers.VICRegL(
        network,
        map_layer=network.layers[-2].name,
        projector=layers.ProjectionHead((32, 16), normalization=False),
        local_projector=layers.ProjectionHead((16, 8), normalization=False),
        augment=augment.LocatedViews(augment.MultiCropViews(28, 14, local_count=1), seed=0),
    )


def grainy_images() -> np.ndarray:
    """Return the images with noise: rounding would choose the nearest of equal, black places."""
    grain = np.random.default_rng(0).integers(0, 128, (256, 28, 28, 1), dtype=np.uint8)
    return images()[0] // 2 + grain


CASES = {
    "VICRegL": Case(
        make=small_vicregl,
        decreasing_loss="loss",
        decrease=3.0,
        x=grainy_images,
        # the loss does not change with the last biases: Adam would amplify rounding errors
        optimizer=lambda: keras.optimizers.SGD(1e-3, momentum=0.9),
        sgd=lambda: keras.optimizers.SGD(0.001),  # for weights of 25
    ),
}


def located(count=16):
    """Return a view, and its right half, flipped, with the boxes that they have in pixels."""
    x = images()[0][:count].astype("float32")
    boxes = ([0, 0, 28, 28], [0, 28, 28, 14])
    views = (x, x[:, :, :13:-1])
    return tuple(
        {"image": view, "box": np.tile(np.array(box, "float32"), (count, 1))}
        for view, box in zip(views, boxes, strict=True)
    )


def make(**arguments):
    keras.utils.set_random_seed(3)
    network = encoder(size=None)
    parts = {
        "encoder": network,
        "map_layer": network.layers[-2].name,
        "projector": layers.ProjectionHead((16, 8), normalization=False),
        "local_projector": layers.ProjectionHead((16, 4), normalization=False),
        **arguments,
    }
    trainer = trainers.VICRegL(**parts)
    trainer.compile(keras.optimizers.SGD(0.001))
    return trainer


def test_losses_are_those_of_embeddings_and_places():
    loss = losses.VICRegLLoss(1, matches=(10, 3))
    trainer = make(loss=loss)
    logs = trainer.evaluate(located(), batch_size=16, verbose=0, return_dict=True)
    views, maps = [], []
    for view in located():
        x = view["image"]
        for layer in trainer.encoder.layers[:-1]:
            x = layer(x)
        views.append(trainer.projector(trainer.encoder.layers[-1](x)))
        maps.append(trainer.local_projector(np.asarray(x).reshape(16, -1, x.shape[-1])))
    rows = 4 * (np.arange(7) + 0.5)
    columns = 28 - 3.5 * (np.arange(4) + 0.5)  # flipped: the first lies to the right
    places = [
        np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(1, -1, 2).repeat(16, 0)
        for axes in ((rows, rows), (rows, columns))
    ]
    places = [np.asarray(one, "float32") for one in places]
    assert [one.shape[1] for one in maps] == [49, 28]
    for name, value in loss.terms(views, maps, places).items():
        assert logs[name] == pytest.approx(float(value[0]), rel=1e-4)
    assert logs["loss"] == pytest.approx(logs["global"] + logs["features"] + logs["places"])


def test_defaults_are_those_of_the_paper():
    trainer = make(projector=None, local_projector=None)
    assert trainer.projector.widths == (8192, 8192, 8192)
    assert trainer.local_projector.widths == (512, 512, 512)
    assert isinstance(trainer.loss_function, losses.VICRegLLoss)
    assert trainer.loss_function.global_weight == 0.75
    assert trainer.loss_function.matches == (20, 4)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"encoder": keras.layers.Dense(4)}, TypeError, "`encoder` must be a Keras Model"),
        ({"map_layer": "maps"}, ValueError, "`encoder` must have a layer.*'maps'"),
        ({"local_projector": "mlp"}, TypeError, "`local_projector` must be a Keras Layer"),
        ({"loss": "vicregl"}, TypeError, "`loss` must be a Keras Loss"),
    ],
)
def test_invalid_arguments_are_rejected(arguments, error, message):
    with pytest.raises(error, match=message):
        make(**arguments)


@pytest.mark.parametrize(
    ("arguments", "x", "message"),
    [
        ({"augment": augment.SimCLRViews(28)}, zeros(16, 28, 28, 1), 'an "image" and its "box"'),
        ({}, (located()[0]["image"],) * 2, 'an "image" and its "box"'),
        ({}, tuple({**one, "box": one["box"][:, :2]} for one in located()), r"shape \(batch, 4\)"),
        ({}, located()[::-1], "must be no larger|of one shape"),
        ({"loss": losses.VICRegLLoss(3)}, located(), "at least 3 views"),
        ({"encoder": encoder()}, located(), "must take views of all sizes"),
    ],
    ids=["no boxes", "images", "half a box", "order", "views", "encoder"],
)
def test_invalid_views_are_rejected_before_the_first_step(arguments, x, message):
    if "encoder" in arguments:
        arguments = {**arguments, "map_layer": arguments["encoder"].layers[-2].name}
    trainer = make(**{"loss": losses.VICRegLLoss(1), **arguments})
    with pytest.raises(ValueError, match=message):
        trainer.fit(x, batch_size=16, verbose=0)
