"""Transformers in folders of the Hugging Face layout."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras

from keras_ssl import layers, networks
from keras_ssl.convert import _clip, _images, _text
from keras_ssl.convert._files import CONFIG, read_json
from keras_ssl.layers import MaskToken
from keras_ssl.networks import VisionTransformer

if TYPE_CHECKING:  # trainers import TensorFlow, which on another backend only CLIP needs
    from keras_ssl import trainers


def from_hugging_face(
    folder: str | Path, **kwargs: Any
) -> "VisionTransformer | networks.BERT | networks.GPT2 | trainers.CLIP":
    r"""Read a published transformer of images or of text from a folder in the Hugging Face layout.

    The folder holds `config.json` and `model.safetensors`, or `model.safetensors.index.json` and
    the files that it names. Nothing is downloaded, and nothing is unpickled.

    | `model_type` | Models | Features |
    | --- | --- | --- |
    | `vit` | `ViTModel` and those on it, also DINO's | class token |
    | `vit_mae` | `ViTMAEModel`, the encoder of `ViTMAEForPreTraining` | class token |
    | `beit` | `BeitModel` and those on it | mean of patches or class token, as configured |
    | `dinov2` | `Dinov2Model` and those on it | class token |
    | `dinov2_with_registers` | `Dinov2WithRegistersModel` and those on it | class token |
    | `bert` | `BertModel` and those on it | first token, behind the pooler if the file has one |
    | `gpt2` | `GPT2Model`, `GPT2LMHeadModel` and others on it | all tokens |
    | `clip` | `CLIPModel` | a `trainers.CLIP`, with both encoders and the learned scale |

    Features and tokens equal those of `transformers` to 1e-5, also for images of other sizes, for
    which positions are interpolated. An encoder with a relative bias, as BEiT's, takes images of
    one size: that of the file, or `input_shape`, for which its tables are then interpolated.

    **Images.** With `preprocessor_config.json` in the folder, the encoder takes pixels from 0 to
    255 in the order of RGB and normalizes them itself as that file says. Without it, the encoder
    takes pixels as they are, with a warning: normalize them, or pass `include_rescaling`,
    `pixel_mean` and `pixel_std`. Resizing and cropping stay with you, to `input_shape`.

    **Heads.** A classifier, a decoder or a pooler is not read; a warning names them. Of
    `BeitForMaskedImageModeling` with mean pooling, the encoder gets the normalization of the head,
    since the published encoder has none. A mask token is read by `mask_token_from_hugging_face`.

    **Text.** A `networks.BERT` or `networks.GPT2` computes the same tokens as `transformers` to
    1e-5. Output weights of a language model must be those of its token embedding. The vocabulary
    is in other files of the folder.

    **CLIP.** The trainer's `tower("image")` and `tower("text")` return the normalized embeddings of
    `transformers` to 1e-5, and it can be trained on at once. A text ends at the token that the
    configuration names, so no mask is needed. `towers_from_hugging_face` returns the towers alone.

    **Training.** Of vision transformers, `hidden_dropout_prob` becomes `dropout_rate`. It is
    applied to outputs and hidden layers of the feed-forward networks too, and not to the tokens at
    the start; a warning says so if it is not 0. A key bias, which BEiT lacks, is 0 and does not
    change the softmax.

    Args:
        folder: the folder.
        **kwargs: arguments of `networks.VisionTransformer` that weights do not depend on:
            `input_shape`, `pooling`, `final_norm`, `drop_path_rate`, `dropout_rate`,
            `attention_dropout_rate`, `include_rescaling`, `pixel_mean`, `pixel_std`, `seed`,
            `name`, `dtype`, `trainable`; and `positions="sincos"` for an encoder of MAE, whose
            positions are then not trained. Of BERT and GPT-2: `pooling`, `dropout_rate`,
            `attention_dropout_rate`, `remat`, `seed`, `name`, `dtype`, `trainable`. Of CLIP:
            `include_rescaling`, `pixel_mean`, `pixel_std`, `seed`, `name`, `dtype`.

    Returns:
        `networks.VisionTransformer`, `networks.BERT`, `networks.GPT2` or `trainers.CLIP`.

    Raises:
        ImportError: if safetensors is not installed.
        TypeError: if an argument is none of the above.
        ValueError: if the folder lacks a file, a file is truncated, the architecture is another,
            its configuration holds what the encoder cannot do, or tensors are unknown, missing or
            of another shape, all of which are named. There is no encoder then.

    Example:

    >>> import tempfile
    >>> import numpy as np
    >>> from keras_ssl import convert, networks
    >>> encoder = networks.vit((16, 2, 4), input_shape=(8, 8, 3), patch_size=4)
    >>> images = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     convert.to_hugging_face(encoder, folder)
    ...     same = convert.from_hugging_face(folder)
    >>> bool(np.allclose(same(images), encoder(images), atol=1e-6))
    True
    """
    folder = Path(folder)
    known = (*_images.ARCHITECTURES, *_text.ARCHITECTURES, _clip.ARCHITECTURE)
    config = _read_config(folder, known)
    architecture = config["model_type"]
    if architecture == _clip.ARCHITECTURE:
        name = {"name": kwargs.pop("name")} if "name" in kwargs else {}
        return _trainer(*_clip.read(folder, config, kwargs), **name)
    if architecture in _text.ARCHITECTURES:
        return _text.read(folder, config, kwargs)
    return _images.read(folder, config, kwargs)


def towers_from_hugging_face(
    folder: str | Path, **kwargs: Any
) -> "tuple[trainers.Tower, trainers.Tower, layers.LogitScale]":
    """Read the two towers of a published CLIP, and the scale of their products.

    They need no trainer, so they compute on every backend. `logit_scale(images @ texts.T)` are the
    logits of all pairs, with what the towers return.

    Args:
        folder: a folder as of `from_hugging_face`, of a `CLIPModel`.
        **kwargs: `include_rescaling`, `pixel_mean`, `pixel_std`, `seed`, `dtype`.

    Returns:
        The tower of images, that of texts, and a `layers.LogitScale`.

    Raises:
        ImportError: if safetensors is not installed.
        TypeError: if an argument is none of the above.
        ValueError: as of `from_hugging_face`.

    Example:

    >>> import tempfile
    >>> import keras, numpy as np
    >>> from keras_ssl import convert, layers, networks, trainers
    >>> image = trainers.Tower(
    ...     networks.vit((16, 2, 4), (8, 8, 3), 4, first_norm=True, patch_bias=False), 12
    ... )
    >>> text = trainers.Tower(
    ...     networks.text_transformer((16, 2, 4), 100, max_length=8, pooling="end"), 12
    ... )
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     convert.to_hugging_face((image, text, layers.LogitScale()), folder)
    ...     image, text, logit_scale = convert.towers_from_hugging_face(folder)
    >>> images, texts = np.zeros((3, 8, 8, 3)), np.array([[1, 5, 99, 0]])
    >>> logit_scale(image(images) @ keras.ops.transpose(text(texts))).shape
    TensorShape([3, 1])
    """
    folder = Path(folder)
    return _clip.read(folder, _read_config(folder, (_clip.ARCHITECTURE,)), kwargs)


def mask_token_from_hugging_face(folder: str | Path) -> MaskToken:
    """Read the mask token of a published vision transformer.

    BEiT and DINOv2 put it in place of hidden patches. It is no part of an encoder: here, a trainer
    has it.

    Args:
        folder: a folder as of `from_hugging_face`.

    Returns:
        A built `layers.MaskToken`.

    Raises:
        ImportError: if safetensors is not installed.
        ValueError: if there is no mask token, or the folder is not readable.

    Example:

    >>> import tempfile
    >>> from keras_ssl import convert, layers, networks
    >>> encoder = networks.vit((16, 2, 4), (8, 8, 3), 4, layer_scale=1e-5)
    >>> token = layers.MaskToken("ones")
    >>> token.build([(None, 4, 16), (None, 4)])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     convert.to_hugging_face(encoder, folder, "dinov2", mask_token=token)
    ...     same = convert.mask_token_from_hugging_face(folder)
    >>> bool((same.token.numpy() == 1).all())
    True
    """
    folder = Path(folder)
    return _images.read_mask_token(folder, _read_config(folder, _images.ARCHITECTURES))


def to_hugging_face(
    encoder: "VisionTransformer | networks.BERT | networks.GPT2 | trainers.CLIP | tuple",
    folder: str | Path,
    architecture: str | None = None,
    mask_token: MaskToken | None = None,
) -> None:
    """Write a transformer as a folder in the Hugging Face layout.

    The folder holds `config.json`, `model.safetensors` and, if the encoder rescales pixels,
    `preprocessor_config.json`, so `transformers.AutoModel.from_pretrained(folder)` computes the
    same tokens. How features are pooled is part of BEiT alone: elsewhere, `pooling` has to be
    passed to `from_hugging_face` again if it is not `"class"`. Images of other sizes get positions
    as the architecture interpolates them, which is with `antialias_positions=True` for DINOv2 with
    registers, and without for the others.

    CLIP's architecture has a class token, a norm before the blocks and patches without bias in its
    encoder of images, and in that of texts the features of the token that ends a text:

        networks.vit(..., first_norm=True, patch_bias=False, activation="quick_gelu")
        networks.text_transformer(..., pooling="end", end_token=..., activation="quick_gelu")

    Args:
        encoder: the network, such as `trainer.encoder`; or a `trainers.CLIP`, or its two towers and
            its scale, `(image, text, logit_scale)`.
        folder: folder to write, which is new or empty. It is there as a whole or not at all.
        architecture: of a vision transformer, `"vit"` (default), `"vit_mae"`, `"beit"`,
            `"dinov2"` or `"dinov2_with_registers"`; those of others are known.
        mask_token: the mask token that the encoder was trained with, for BEiT and DINOv2.

    Raises:
        ImportError: if safetensors is not installed.
        TypeError: if `encoder` or an encoder of CLIP is none of those networks, or `mask_token` no
            `layers.MaskToken`.
        ValueError: if the architecture is unknown or cannot be what the encoder is, or the folder
            is not empty.

    Example:

    >>> import pathlib, tempfile
    >>> from keras_ssl import convert, networks
    >>> encoder = networks.vit((16, 2, 4), (8, 8, 3), 4, relative_bias="block", layer_scale=0.1)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     convert.to_hugging_face(encoder, folder, architecture="beit")
    ...     sorted(file.name for file in pathlib.Path(folder).iterdir())
    ['config.json', 'model.safetensors', 'preprocessor_config.json']
    """
    folder, towers = Path(folder), _towers(encoder)
    if towers is not None or isinstance(encoder, (networks.BERT, networks.GPT2)):
        own = _clip.ARCHITECTURE if towers is not None else _text.architecture_of(encoder)
        if architecture not in (None, own) or mask_token is not None:
            kind = "CLIP" if towers is not None else f"networks.{type(encoder).__name__}"
            raise ValueError(
                f"A `{kind}` has `architecture={own!r}`, and no `mask_token`. "
                f"Received: architecture={architecture!r}, mask_token={mask_token!r}"
            )
        if towers is not None:
            _clip.write(*towers, folder)
        else:
            _text.write(encoder, folder)
        return
    if not isinstance(encoder, VisionTransformer):
        raise TypeError(
            "`encoder` must be a `networks.VisionTransformer`, `networks.BERT` or `networks.GPT2`, "
            "a `trainers.CLIP`, or `(image, text, logit_scale)`, its two towers and its scale. "
            f"Received: encoder={encoder!r} of type {type(encoder)}"
        )
    architecture = "vit" if architecture is None else architecture
    _images.write(encoder, folder, architecture, mask_token)


def _read_config(folder: Path, architectures: Iterable[str]) -> dict[str, Any]:
    """Return the configuration of a folder, whose architecture must be a known one."""
    config = read_json(folder, CONFIG)
    if config is None:
        raise ValueError(f"`folder` must hold `{CONFIG}`. Received: folder={str(folder)!r}")
    architecture = config.get("model_type")
    if architecture not in architectures:
        raise ValueError(
            f"`model_type` in `{CONFIG}` must be one of {list(architectures)}. "
            f"Received: model_type={architecture!r}, architectures={config.get('architectures')}"
        )
    return config


def _towers(model: Any) -> _clip.Towers | None:
    """Return towers and scale of a trainer, or given as they are; of other models `None`."""
    if isinstance(model, (VisionTransformer, networks.BERT, networks.GPT2)):
        return None
    from keras_ssl import trainers

    if isinstance(model, trainers.CLIP):
        return (*(model.tower(name) for name in model.names), model.logit_scale)
    kinds = (trainers.Tower, trainers.Tower, layers.LogitScale)
    is_triple = isinstance(model, (tuple, list)) and len(model) == len(kinds)
    if is_triple and all(isinstance(*pair) for pair in zip(model, kinds, strict=True)):
        return tuple(model)
    return None


def _trainer(
    image: "trainers.Tower", text: "trainers.Tower", logit_scale: layers.LogitScale, **kwargs: Any
) -> "trainers.CLIP":
    """Return a trainer of encoders, with the maps and the scale of towers."""
    from keras_ssl import trainers

    trainer = trainers.CLIP(
        image.encoder,
        text.encoder,
        image.width,
        logit_scale=logit_scale,
        dtype=image.dtype_policy,
        **kwargs,
    )
    trainer.build_step(
        {
            "image": keras.KerasTensor((None, *image.encoder.get_config()["input_shape"])),
            "text": keras.KerasTensor((None, text.encoder.max_length), "int32"),
        },
        None,
    )
    for tower, read in zip((trainer.first, trainer.second), (image, text), strict=True):
        tower.projection.set_weights(read.projection.get_weights())
    return trainer
