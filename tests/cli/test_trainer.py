"""Trainers that are made by their names."""

import inspect

import keras
import numpy as np
import pytest

from keras_ssl import augment, layers, losses, networks, trainers
from keras_ssl.cli._encoders import encoder_names, network
from keras_ssl.cli._numbers import AXES
from keras_ssl.cli._registry import trainer_classes
from keras_ssl.cli._trainer import make_trainer, trainer_options
from keras_ssl.presets import save_to_preset
from keras_ssl.trainers import ImageSpec

OF_IMAGES = {name: one for name, one in trainer_classes().items() if one.learns_from == "images"}
OF_NUMBERS = {name: one for name, one in trainer_classes().items() if one.learns_from in AXES}
READ = {**OF_IMAGES, **OF_NUMBERS}
OF_OTHERS = {name: one for name, one in trainer_classes().items() if name not in READ}
# arguments that are models which have been trained before
TRAINED = {
    "KnowledgeDistillation": {"teacher"},
    "VQKD": {"teacher"},
    "BEiT": {"tokenizer"},
    "BEiTv2": {"tokenizer"},
    "LatentDiffusion": {"latent_encoder", "latent_decoder"},
}
SMALL_ENCODER = {
    name: {"encoder": "vit((8, 1, 2))"} for name in TRAINED if name != "LatentDiffusion"
}
SHAPE = (32, 32, 3)


def make(trainer, shape=SHAPE, count=100, **given):
    return make_trainer(trainer, given, shape, count)


def build(trainer):
    """Build a trainer for batches of images, as `keras-ssl pretrain` does."""
    x = keras.KerasTensor((None, *SHAPE), "uint8")
    if trainer.uses_index:
        x = {"image": x, "index": keras.KerasTensor((None,), "int32")}
    y = keras.KerasTensor((None,), "int64") if trainer.uses_labels else None
    names = trainer.optimizer_names
    trainer.compile(dict.fromkeys(names, "adam") if len(names) > 1 else "adam")
    trainer.build_step(x, y)


@pytest.mark.parametrize("name", READ)
def test_nothing_but_trained_models_is_needed(name):
    trainer = READ[name]
    needed = {
        option
        for option, one in trainer_options(trainer).items()
        if one.default is inspect.Parameter.empty and not hasattr(trainer, f"{option}_for")
    }
    assert needed == TRAINED.get(name, set())


@pytest.mark.full
@pytest.mark.parametrize("name", [name for name in OF_IMAGES if name not in TRAINED])
def test_every_method_of_images_is_made_by_its_name(name):
    trainer = make(OF_IMAGES[name])
    build(trainer)
    assert trainer.built


@pytest.mark.parametrize("name", TRAINED)
def test_a_trained_model_that_is_missing_is_named(name):
    missing = next(option for option in trainer_options(OF_IMAGES[name]) if option in TRAINED[name])
    with pytest.raises(ValueError, match=f"{name} needs --{missing.replace('_', '-')}: .*trained"):
        make(OF_IMAGES[name], **SMALL_ENCODER.get(name, {}))


@pytest.mark.parametrize("name", OF_OTHERS)
def test_methods_of_other_data_are_refused(name, command, tmp_path):
    status, _, complaint = command(
        "pretrain", "--method", name, "--data", tmp_path, "--out", tmp_path / "run"
    )
    assert status == 2
    assert complaint.startswith(
        f"keras-ssl: error: {name} learns from {OF_OTHERS[name].learns_from}"
    )
    assert complaint.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_what_is_given_comes_before_the_class_and_its_defaults():
    made = make(trainers.SimCLR, encoder="small_resnet(width=8)")
    assert made.encoder.output_shape == (None, 32)
    assert isinstance(made.augment, augment.SimCLRViews)
    assert isinstance(made.loss_function, losses.NTXent)
    made = make(trainers.SimCLR, loss="DCL(temperature=0.3)", augment="Views(Grayscale(), count=2)")
    assert isinstance(made.loss_function, losses.DCL)
    assert made.loss_function.temperature == 0.3
    assert isinstance(made.augment, augment.Views)


def test_scalars_are_read():
    assert make(trainers.MoCo, momentum="0.9").teacher.momentum == 0.9
    assert make(trainers.TiCo, momentum="cosine_momentum(0.9, 100)").teacher.momentum(0) == 0.9
    made = make(trainers.VAE, free_bits="0.5", likelihood="gaussian")
    assert made.get_config()["free_bits"] == 0.5
    assert isinstance(made.likelihood, losses.GaussianNLL)


def test_a_serialized_part():
    part = keras.saving.serialize_keras_object(layers.ProjectionHead((8, 4)))
    assert make(trainers.SimCLR, projector=part).projector.widths == (8, 4)


def test_a_part_of_code_is_refused():
    part = keras.saving.serialize_keras_object(keras.layers.Lambda(lambda x: x))
    with pytest.raises(ValueError, match="safe"):
        make(trainers.SimCLR, projector=part)


@pytest.mark.few(2)
@pytest.mark.parametrize("name", encoder_names())
def test_every_encoder_is_found(name):
    images = ImageSpec(32, 3, 100)
    if name not in ("vit_large", "vit_huge"):  # of a billion weights
        assert network(name, images)(images.shape).count_params() > 0


def test_an_encoder_from_the_folder_of_a_run_or_preset(run_of_simclr):
    _, folder = run_of_simclr
    weights = keras.saving.load_model(folder / "encoder.keras").get_weights()
    for place in (folder, folder / "preset"):
        made = make(trainers.SimCLR, (16, 16, 3), encoder=str(place))
        for one, other in zip(made.encoder.get_weights(), weights, strict=True):
            np.testing.assert_array_equal(one, other)


def test_a_student_ends_as_its_teacher(run_of_simclr):
    _, folder = run_of_simclr
    made = make(trainers.KnowledgeDistillation, (16, 16, 3), teacher=str(folder))
    assert made.encoder.output_shape == made.teacher.output_shape == (None, 32)


def test_a_transformer_gets_patches_that_divide_the_images():
    small = "vit((16, 1, 2), patch_size={})"
    assert make(trainers.MAE, encoder="vit((16, 1, 2))").encoder.patch_size == (4, 4)
    assert make(trainers.MAE, encoder=small.format(8)).encoder.patch_size == (8, 8)
    local = make(trainers.DINO, encoder=small.format(8)).augment(keras.ops.zeros((2, *SHAPE)))[-1]
    assert local.shape == (2, 16, 16, 3)


def test_a_masked_method_needs_a_transformer():
    with pytest.raises(TypeError, match="TokenEncoder"):
        make(trainers.MAE, encoder="small_resnet")


def test_an_encoder_from_a_file(tmp_path):
    encoder = networks.small_resnet((32, 32, 3), width=8)
    encoder.save(tmp_path / "encoder.keras")
    made = make(trainers.SimCLR, encoder=str(tmp_path / "encoder.keras"))
    weights = zip(made.encoder.weights, encoder.weights, strict=True)
    assert all((a.numpy() == b.numpy()).all() for a, b in weights)


@pytest.mark.slow
def test_trained_models_of_files_are_parts(tmp_path):
    def saved(name, model):
        model.save(tmp_path / f"{name}.keras")
        return str(tmp_path / f"{name}.keras")

    teacher = networks.vit((16, 1, 2), SHAPE, 8)
    teacher(keras.ops.zeros((1, *SHAPE)))
    tokenizer = make(
        trainers.VQKD,
        encoder="vit((16, 1, 2), patch_size=8)",
        teacher=saved("teacher", teacher),
        projector="ProjectionHead((16, 8), normalization=False)",
        quantizer="VectorQuantizer(32, 'cosine', commitment=1.0)",
        decoder="TokenDecoder(16, depth=1, num_heads=2)",
    )
    build(tokenizer)
    trainer = make(
        trainers.BEiT,
        encoder="vit((16, 1, 2), patch_size=8)",
        tokenizer=saved("tokenizer", tokenizer),
    )
    build(trainer)
    assert trainer.tokenizer.codes == 32

    autoencoder = make(trainers.VQVAE)
    build(autoencoder)
    file = saved("autoencoder", autoencoder)
    parts = {"latent_encoder": f"{file}:encoder", "latent_decoder": f"{file}:decoder"}
    build(make(trainers.LatentDiffusion, **parts))
    with pytest.raises(ValueError, match="has no part 'encode'"):
        make(trainers.LatentDiffusion, **{**parts, "latent_encoder": f"{file}:encode"})


def test_what_a_folder_has_not_is_named(run_of_simclr, tmp_path):
    _, folder = run_of_simclr
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "config.json").write_text('{"finished": false}')
    normalized = keras.Sequential([keras.Input((16, 16, 3)), keras.layers.Flatten()])
    save_to_preset(tmp_path / "preset", normalized, preprocessing=keras.layers.Rescaling(1 / 255))
    for teacher, message in (
        (f"{folder}:project", "has no part 'project'"),
        (f"{folder / 'preset'}:projector", "has no part 'projector'"),
        (tmp_path / "begun", "has not finished"),
        (tmp_path / "preset", "scaled alike, give its file, .*encoder.keras"),
    ):
        with pytest.raises(ValueError, match=message):
            make(trainers.KnowledgeDistillation, teacher=str(teacher))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"encoder": "resnet81"}, r"no encoder 'resnet81'. Did you mean resnet18\?"),
        ({"encoder": "dcgan_generator"}, "no encoder of images"),
        ({"encoder": 5}, "--encoder 5 is no encoder of images"),
        ({"encoder": "nothing.keras"}, "no file 'nothing.keras'"),
        ({"encoder": "runs/nothing"}, "no encoder 'runs/nothing'.*folders of runs"),
        ({"encoder": "resnet18(widht=8)"}, "unexpected keyword argument 'widht'"),
        ({"loss": "NTXend"}, r"--loss 'NTXend' .*Did you mean NTXent\?"),
        ({"loss": "NTXent(temperature=open('x'))"}, "is no number, text, list or name"),
        ({"loss": "__import__('os')"}, "is no value, name"),
        ({"projector": "runs/nothing"}, "is no value, name, .keras file or folder of a run that"),
        ({"projector": "x" * 5000}, "is no value, name"),
        ({"loss": "NTXent(temperature=-1)"}, "temperature"),
        ({"tau": "1"}, "SimCLR takes no --tau"),
    ],
)
def test_what_cannot_be_made_is_named(given, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make(trainers.SimCLR, **given)
