"""Methods that hide patches."""

from collections.abc import Sequence
from typing import Any

import keras
from image_data import shuffled_batches
from training_run import warmed_up_cosine

from keras_ssl import augment, layers, trainers
from methods_of.ours._shared import (
    Images,
    Method,
    Trainer,
    held_out_probe,
    small_vit,
    token_head,
    two_views,
)
from methods_of.recipes import RECIPES, VIT_BATCH_SIZE


def crop() -> keras.layers.Layer:
    """One view of each image: a random crop, and a flip."""
    cut = augment.RandomResizedCrop(32, scale=(0.2, 1.0))
    return augment.Pipeline([cut, augment.RandomHorizontalFlip()])


def mae(train: Images, width: int, hidden: float, decoder: Sequence[int]) -> Trainer:
    decoder_width, depth, heads = decoder
    return trainers.MAE(
        small_vit(width, positions="sincos"),
        layers.TokenDecoder(width=decoder_width, depth=depth, num_heads=heads),
        layers.RandomMasking(hidden),
        crop(),
    )


def sim_mim(train: Images, width: int, hidden: float, unit: int) -> Trainer:
    masking = layers.RandomMasking(hidden, unit=unit)
    return trainers.SimMIM(small_vit(width, pooling="mean"), masking=masking, augment=crop())


def aim(train: Images, width: int, head: Sequence[int]) -> Trainer:
    hidden, depth = head
    encoder = small_vit(width, positions="sincos", class_token=False, pooling="mean")
    return trainers.AIM(encoder, layers.ResidualMLPHead(hidden, depth=depth), augment=crop())


def data2vec(
    train: Images, width: int, hidden: float, smallest: int, target_blocks: int, momentum: float
) -> Trainer:
    return trainers.Data2Vec(
        small_vit(width, pooling="mean"),
        layers.BlockMasking((8, 8), hidden, min_tokens=smallest),
        augment=crop(),
        target_blocks=target_blocks,
        momentum=momentum,
    )


def i_jepa(train: Images, width: int, predictor: Sequence[int], momentum: float) -> Trainer:
    predictor_width, depth, heads = predictor
    return trainers.IJEPA(
        small_vit(width, class_token=False, pooling="mean"),
        layers.MultiBlockMasking((8, 8)),
        layers.TokenDecoder(width=predictor_width, depth=depth, num_heads=heads),
        crop(),
        momentum,
    )


def capi(
    train: Images,
    width: int,
    hidden: float,
    predictor: Sequence[int],
    prototypes: int,
    momentum: float,
) -> Trainer:
    depth, heads = predictor
    return trainers.CAPI(
        small_vit(width, class_token=False, pooling="mean"),
        layers.InverseBlockMasking((8, 8), hidden),
        layers.CrossTokenDecoder(width=width, depth=depth, num_heads=heads),
        layers.Prototypes(prototypes),
        augment=crop(),
        momentum=momentum,
    )


def _tokenizer(train: Images, width: int, codes: int, code_width: int, epochs: int) -> Trainer:
    """VQKD, untrained; its teacher is MAE's encoder after `epochs`, whose probe is printed."""
    recipe = RECIPES["MAE"]
    teacher = mae(train, width, recipe["hidden"], recipe["decoder"])
    _fit(teacher, train, epochs)
    print(f"teacher: linear probe {held_out_probe(teacher.encoder, train):.3f}", flush=True)
    return trainers.VQKD(
        small_vit(width),
        teacher.encoder,
        layers.ProjectionHead((width, code_width), normalization=False, activation="tanh"),
        layers.VectorQuantizer(codes, "cosine", momentum=0.99, commitment=1.0),
        layers.TokenDecoder(width=width, depth=1, num_heads=4),
        crop(),
    )


def _fit(trainer: Trainer, train: Images, epochs: int) -> None:
    """Trains what comes before a method, as the method is trained."""
    recipe, batches = RECIPES["MAE"], shuffled_batches(train.images, VIT_BATCH_SIZE)
    schedule = warmed_up_cosine(recipe["learning_rate"], epochs * len(batches), recipe["warmup"])
    optimizer = keras.optimizers.AdamW(schedule, weight_decay=recipe["weight_decay"])
    trainer.compile(optimizer, jit_compile=True)
    trainer.fit(batches, epochs=epochs, shuffle=False, verbose=0)


def vqkd(train: Images, width: int, codes: int, code_width: int, teacher_epochs: int) -> Trainer:
    return _tokenizer(train, width, codes, code_width, teacher_epochs)


def _beit(
    make: type,
    train: Images,
    width: int,
    pooling: str,
    hidden: float,
    smallest: int,
    codes: int,
    code_width: int,
    teacher_epochs: int,
    tokenizer_epochs: int,
    **arguments: Any,
) -> Trainer:
    tokenizer = _tokenizer(train, width, codes, code_width, teacher_epochs)
    _fit(tokenizer, train, tokenizer_epochs)
    return make(
        small_vit(width, pooling=pooling),
        tokenizer,
        masking=layers.BlockMasking((8, 8), hidden, min_tokens=smallest),
        augment=crop(),
        **arguments,
    )


def beit(train: Images, width: int, **recipe: Any) -> Trainer:
    return _beit(trainers.BEiT, train, width, "mean", **recipe)


def beit_v2(train: Images, width: int, **recipe: Any) -> Trainer:
    decoder = layers.TransformerEncoderBlock(4, 4 * width)
    return _beit(trainers.BEiTv2, train, width, "class", **recipe, decoder=decoder)


def _masked_distillation(
    make: type,
    width: int,
    projector: Sequence[int],
    prototypes: int,
    hidden: float,
    smallest: int,
    smallest_crop: float,
    momentum: float,
    has_patch_head: bool,
) -> Trainer:
    parts = (
        small_vit(width),
        token_head(projector),
        layers.Prototypes(prototypes),
        two_views(smallest_crop),
        layers.BlockMasking((8, 8), hidden, min_tokens=smallest),
    )
    patch_head = {}
    if has_patch_head:
        patch_head = {
            "patch_projector": token_head(projector),
            "patch_prototypes": layers.Prototypes(prototypes),
        }
    return make(*parts, momentum=momentum, **patch_head)


def ibot(train: Images, width: int, **recipe: Any) -> Trainer:
    return _masked_distillation(trainers.iBOT, width, **recipe, has_patch_head=False)


def dino_v2(train: Images, width: int, **recipe: Any) -> Trainer:
    return _masked_distillation(trainers.DINOv2, width, **recipe, has_patch_head=True)


METHODS = {
    "MAE": Method(mae),
    "SimMIM": Method(sim_mim),
    "AIM": Method(aim),
    "Data2Vec": Method(data2vec),
    "IJEPA": Method(i_jepa),
    "CAPI": Method(capi),
    "VQKD": Method(vqkd),
    "BEiT": Method(beit),
    "BEiTv2": Method(beit_v2),
    "iBOT": Method(ibot),
    "DINOv2": Method(dino_v2),
}
