"""Our side of each method: the trainer that its recipe describes, and the batches it reads."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
from image_data import shuffled_batches
from keras.distillation import LogitsDistillation
from training_run import warmed_up_cosine

from keras_ssl import augment, evaluate, layers, losses, networks, samplers, trainers
from methods_of.recipes import RECIPES, VIT_BATCH_SIZE

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


def two_views(smallest: float = 0.08) -> keras.layers.Layer:
    """SimCLR's views of CIFAR-10 (arXiv:2002.05709, appendix B.9), crops of at least this area."""
    return augment.SimCLRViews(32, scale=(smallest, 1.0), strength=0.5, blur_probability=0.0)


def _contrastive(width: int, projector: Sequence[int], loss: keras.losses.Loss) -> Trainer:
    head = layers.ProjectionHead(projector, last_normalization=True)
    return trainers.SimCLR(small_encoder(width), head, two_views(), loss)


def simclr(train: Images, width: int, projector: Sequence[int], temperature: float) -> Trainer:
    return _contrastive(width, projector, losses.NTXent(temperature))


def dcl(train: Images, width: int, projector: Sequence[int], temperature: float) -> Trainer:
    return _contrastive(width, projector, losses.DCL(temperature))


def dclw(train: Images, width: int, projector: Sequence[int], temperature: float) -> Trainer:
    return _contrastive(width, projector, losses.DCLW(temperature))


def moco(
    train: Images,
    width: int,
    projector: Sequence[int],
    temperature: float,
    queue: int,
    momentum: float,
) -> Trainer:
    return trainers.MoCo(
        small_encoder(width),
        layers.ProjectionHead(projector, normalization=False),
        two_views(),
        losses.InfoNCE(temperature),
        layers.FeatureQueue(queue),
        momentum,
    )


def dense_cl(
    train: Images,
    width: int,
    projector: Sequence[int],
    temperature: float,
    queue: int,
    momentum: float,
) -> Trainer:
    """The last map has 4x4 positions."""
    return trainers.DenseCL(
        small_encoder(width),
        "stage3_block1_output",
        *(layers.ProjectionHead(projector, normalization=False) for _ in range(2)),
        two_views(),
        losses.InfoNCE(temperature),
        *(layers.FeatureQueue(queue) for _ in range(2)),
        momentum,
    )


def moco_v3(
    train: Images,
    width: int,
    projector: Sequence[int],
    predictor: int,
    temperature: float,
    momentum: float,
) -> Trainer:
    return trainers.MoCoV3(
        small_encoder(width),
        layers.ProjectionHead(projector, last_normalization=True),
        layers.PredictionHead(predictor),
        two_views(),
        losses.InfoNCE(temperature),
        momentum,
    )


def byol(
    train: Images, width: int, projector: Sequence[int], predictor: int, momentum: float
) -> Trainer:
    return trainers.BYOL(
        small_encoder(width),
        layers.ProjectionHead(projector),
        layers.PredictionHead(predictor),
        two_views(),
        momentum=momentum,
    )


def simsiam(train: Images, width: int, projector: Sequence[int], predictor: int) -> Trainer:
    return trainers.SimSiam(
        small_encoder(width),
        layers.ProjectionHead(projector, last_normalization=True),
        layers.PredictionHead(predictor),
        two_views(),
    )


def barlow_twins(train: Images, width: int, projector: Sequence[int]) -> Trainer:
    return trainers.BarlowTwins(small_encoder(width), layers.ProjectionHead(projector), two_views())


def vicreg(train: Images, width: int, projector: Sequence[int]) -> Trainer:
    return trainers.VICReg(small_encoder(width), layers.ProjectionHead(projector), two_views())


def vicregl(
    train: Images,
    width: int,
    projector: Sequence[int],
    local_projector: Sequence[int],
    matches: Sequence[int],
) -> Trainer:
    """Two global views, no local ones; the last map has 4x4 positions."""
    normalization = keras.layers.LayerNormalization(epsilon=1e-5)
    return trainers.VICRegL(
        small_encoder(width),
        "stage3_block1_output",
        layers.ProjectionHead(projector),
        layers.ProjectionHead(local_projector, normalization=normalization),
        augment.LocatedViews(two_views()),
        losses.VICRegLLoss(matches=matches),
    )


def tico(train: Images, width: int, projector: Sequence[int], momentum: float) -> Trainer:
    head = layers.ProjectionHead(projector)
    return trainers.TiCo(small_encoder(width), head, two_views(), momentum=momentum)


def frossl(train: Images, width: int, projector: Sequence[int]) -> Trainer:
    return trainers.FroSSL(small_encoder(width), layers.ProjectionHead(projector), two_views())


def w_mse(train: Images, width: int, projector: Sequence[int], sub_batch: int) -> Trainer:
    head, loss = layers.ProjectionHead(projector), losses.WMSELoss(sub_batch)
    return trainers.WMSE(small_encoder(width), head, two_views(), loss)


def lejepa(train: Images, width: int, projector: Sequence[int], directions: int) -> Trainer:
    """Two global views, no local ones."""
    head = layers.ProjectionHead(projector)
    return trainers.LeJEPA(small_encoder(width), head, two_views(), directions=directions)


def mmcr(train: Images, width: int, projector: Sequence[int], momentum: float) -> Trainer:
    head = layers.ProjectionHead(projector)
    return trainers.MMCR(small_encoder(width), head, two_views(), momentum=momentum)


def nnclr(
    train: Images,
    width: int,
    projector: Sequence[int],
    predictor: int,
    temperature: float,
    queue: int,
) -> Trainer:
    return trainers.NNCLR(
        small_encoder(width),
        layers.ProjectionHead(projector, last_normalization=True),
        layers.PredictionHead(predictor),
        two_views(),
        losses.InfoNCE(temperature),
        layers.FeatureQueue(queue),
    )


def sup_con(train: Images, width: int, projector: Sequence[int], temperature: float) -> Trainer:
    head = layers.ProjectionHead(projector, normalization=False)
    return trainers.SupCon(small_encoder(width), head, two_views(), losses.SupConLoss(temperature))


def instance_discrimination(
    train: Images, width: int, projector: Sequence[int], temperature: float, noise_samples: int
) -> Trainer:
    return trainers.InstanceDiscrimination(
        small_encoder(width),
        layers.MemoryBank(len(train.images)),
        layers.ProjectionHead(projector),
        augment.SimCLRViews(32, count=1, strength=0.5, blur_probability=0.0),
        temperature=temperature,
        noise_samples=noise_samples,
    )


def cpc(
    train: Images,
    width: int,
    patch: int,
    strides: int,
    context: int,
    steps: Sequence[int],
    directions: Sequence[str],
) -> Trainer:
    colors = [augment.RandomColorDrop(), augment.ColorJitter(0.4, 0.4, 0.4, 0.1)]
    return trainers.CPC(
        networks.small_resnet((patch, patch, 3), width),
        augment.PatchViews(patch, strides, colors),
        layers.MaskedContext(blocks=2, width=context),
        keras.layers.Dense(context),
        steps=steps,
        directions=directions,
    )


def deep_info_max(train: Images, width: int, map_layer: str, critic: int) -> Trainer:
    return trainers.DeepInfoMax(
        small_encoder(width), map_layer, local_critic=layers.EncodeAndDotProduct(critic)
    )


def swav(
    train: Images, width: int, projector: Sequence[int], prototypes: int, smallest_crop: float
) -> Trainer:
    return trainers.SwAV(
        small_encoder(width),
        layers.ProjectionHead(projector),
        layers.Prototypes(prototypes, kernel_constraint="unit_norm"),
        two_views(smallest_crop),
    )


def deep_cluster_v2(
    train: Images,
    width: int,
    projector: Sequence[int],
    prototypes: Sequence[int],
    smallest_crop: float,
) -> Trainer:
    return trainers.DeepClusterV2(
        small_encoder(width),
        layers.MemoryBank(len(train.images), momentum=0.0),
        layers.ProjectionHead(projector),
        prototypes,
        two_views(smallest_crop),
    )


def dino(
    train: Images,
    width: int,
    projector: Sequence[int],
    prototypes: int,
    smallest_crop: float,
    momentum: float,
) -> Trainer:
    return trainers.DINO(
        small_encoder(width),
        layers.ProjectionHead(projector, activation="gelu", l2_normalize=True),
        layers.Prototypes(prototypes),
        two_views(smallest_crop),
        momentum=momentum,
    )


def _msn(
    encoder: keras.Model,
    projector: Sequence[int],
    prototypes: int,
    focal_views: int,
    hide: Sequence[keras.layers.Layer],
    momentum: float,
    masking: keras.layers.Layer | None = None,
    method: type[trainers.MSN] = trainers.MSN,
    loss: type[losses.MSNLoss] = losses.MSNLoss,
) -> Trainer:
    """Patches are hidden by `hide` in the image, or left out as `masking` says."""

    def view(size: int, scale: tuple[float, float]) -> augment.FusedPipeline:
        jitter = {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1}
        return augment.simclr_pipeline(size, scale, **jitter, blur_probability=0.0)

    views = [view(32, (0.3, 1.0)), [view(32, (0.3, 1.0)), *hide]]
    return method(
        encoder,
        layers.ProjectionHead(projector, activation="gelu"),
        layers.Prototypes(prototypes),
        augment.AsymmetricViews(views + focal_views * [view(16, (0.05, 0.3))]),
        loss(sinkhorn_iterations=3),
        momentum,
        masking,
    )


def msn(train: Images, width: int, masked: float, **recipe: Any) -> Trainer:
    """Patches are hidden in the image, which the small encoder sees; not left out as tokens."""
    encoder = networks.small_resnet((None, None, 3), width)
    return _msn(encoder, hide=[augment.RandomPatchMask(8, masked)], **recipe)


def pmsn(train: Images, width: int, **recipe: Any) -> Trainer:
    return msn(train, width, **recipe, method=trainers.PMSN, loss=losses.PMSNLoss)


def knowledge_distillation(
    train: Images, width: int, teacher_width: int, teacher_epochs: int, temperature: float
) -> Trainer:
    """The student learns from images alone; the teacher has learned from labels before."""
    view = augment.SimCLRViews(32, count=1, strength=0.5, blur_probability=0.0).pipelines[0]
    teacher = keras.Sequential([view, small_encoder(teacher_width), keras.layers.Dense(10)])
    teacher.compile("adamw", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    batches = shuffled_batches(labelled(train), 256)
    teacher.fit(batches, epochs=teacher_epochs, shuffle=False, verbose=0)
    return trainers.KnowledgeDistillation(
        keras.Sequential([small_encoder(width), keras.layers.Dense(10)]),
        keras.Sequential(teacher.layers[1:]),
        augment=view,
        distillation_losses=LogitsDistillation(temperature=temperature),
        student_loss_weight=0.0,
    )


def any_size_encoder(width: int, channels: int = 3) -> keras.Model:
    """The small encoder for patches as well as whole images."""
    return networks.small_resnet((None, None, channels), width)


def one_view(smallest: float) -> keras.layers.Layer:
    """A crop of at least this area, mirrored or not."""
    crop = augment.RandomResizedCrop(32, scale=(smallest, 1.0))
    return augment.Pipeline([crop, augment.RandomHorizontalFlip()])


def rotation(train: Images, width: int, smallest_crop: float) -> Trainer:
    return trainers.RotationPrediction(small_encoder(width), one_view(smallest_crop))


def relative_position(
    train: Images, width: int, patch: int, gap: int, jitter: int, head: int
) -> Trainer:
    """Patches keep their colours, which classes are told by: no lens has made so small images."""
    return trainers.RelativePatchPosition(
        any_size_encoder(width),
        patch,
        gap,
        jitter,
        patch_augment=keras.layers.Identity(),
        head=keras.layers.Dense(head, "relu"),
    )


def jigsaw(train: Images, width: int, patch: int, permutations: int, head: int) -> Trainer:
    return trainers.JigsawPuzzle(
        any_size_encoder(width),
        patch,
        permutations,
        augment.RandomHorizontalFlip(),
        head=keras.layers.Dense(head, "relu"),
    )


def colorization(train: Images, width: int, smallest_crop: float) -> Trainer:
    """The encoder sees lightness alone, and ends before its pooling."""
    encoder = any_size_encoder(width, channels=1)
    maps = keras.Model(encoder.inputs, encoder.layers[-1].input)
    return trainers.Colorization(maps, one_view(smallest_crop))


def context_encoder(
    train: Images,
    width: int,
    block: int,
    decoder: Sequence[int],
    discriminator: Sequence[int],
    smallest_crop: float,
    adversary: float,
) -> Trainer:
    encoder = small_encoder(width)
    shape = (block, block, 3)
    critic = [
        keras.layers.Conv2D(units, 4, 2, padding="same", activation="leaky_relu")
        for units in discriminator
    ]
    return trainers.ContextEncoder(
        encoder,
        _decoder(decoder, encoder.output_shape[-1], shape),
        keras.Sequential(
            [
                keras.layers.Rescaling(1 / 127.5, offset=-1),
                *critic,
                keras.layers.Flatten(),
                keras.layers.Dense(1),
            ]
        ),
        block,
        # the error is that of pixels from 0 to 1
        reconstruction_weight=(1 - adversary) / 255**2,
        adversary_weight=adversary,
        augment=one_view(smallest_crop),
    )


def _decoder(
    widths: Sequence[int], features: int, shape: tuple[int, int, int] = (32, 32, 3)
) -> keras.Model:
    """From features to pixels from 0 to 255."""
    decoder = networks.conv_decoder(shape, widths, features)
    return keras.Sequential([decoder, keras.layers.Rescaling(127.5, offset=127.5)])


def autoencoder(train: Images, width: int, decoder: Sequence[int]) -> Trainer:
    encoder = small_encoder(width)
    return trainers.Autoencoder(encoder, _decoder(decoder, encoder.output_shape[-1]))


def vae(
    train: Images, width: int, decoder: Sequence[int], latent: int, deviation: float
) -> Trainer:
    """Pixels are normal, with this standard deviation, on the scale from 0 to 255."""
    likelihood = losses.GaussianNLL(deviation)
    return trainers.VAE(small_encoder(width), _decoder(decoder, latent), latent, likelihood)


def trained_part(trainer: Trainer, train: Images) -> keras.Model:
    """The encoder alone, of a trainer whose output is something else."""
    return trainer.encoder


def diffusion(train: Images, width: int) -> Trainer:
    unet = networks.diffusion_unet(
        (32, 32, 3), (width, 2 * width, 4 * width), blocks=1, attention_levels=(2,)
    )
    schedule = samplers.NoiseSchedule("cosine")
    return trainers.Diffusion(unet, schedule, "v", min_snr_gamma=5.0, ema_momentum=0.999)


def _held_out_probe(encoder: keras.Model, train: Images) -> float:
    """The linear probe of features, fitted on four fifths of training images, on the last fifth."""
    features = encoder.predict(train.images, batch_size=500, verbose=0)
    cut = 4 * len(features) // 5
    parts = [(features[part], train.labels[part]) for part in (slice(cut), slice(cut, None))]
    return evaluate.linear_probe(evaluate.raw_pixels, *parts)


def best_features(trainer: trainers.Diffusion, train: Images) -> keras.Model:
    """The layer and the time whose features are best for a probe, on images held out for it."""
    few = Images(train.images[:12_000], train.labels[:12_000])
    layers_tried = ("middle_block_2", "up_3_block_1", "up_3_block_2", "up_2_block_1")
    found = {
        (layer, time): _held_out_probe(trainer.encoder_at(layer, time), few)
        for layer in layers_tried
        for time in (10, 50, 100)
    }
    layer, time = max(found, key=found.get)
    print(f"diffusion, features of {layer} at time {time}: {found[layer, time]:.3f} of {found}")
    return trainer.encoder_at(layer, time)


def small_vit(width: int, **arguments: Any) -> networks.VisionTransformer:
    """The encoder of every method that hides patches: 64 patches, four blocks."""
    return networks.vit((width, 4, 4), (32, 32, 3), patch_size=4, **arguments)


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
    print(f"teacher: linear probe {_held_out_probe(teacher.encoder, train):.3f}", flush=True)
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


def _token_head(projector: Sequence[int]) -> layers.ProjectionHead:
    return layers.ProjectionHead(
        projector, normalization=False, activation="gelu", l2_normalize=True
    )


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
        _token_head(projector),
        layers.Prototypes(prototypes),
        two_views(smallest_crop),
        layers.BlockMasking((8, 8), hidden, min_tokens=smallest),
    )
    patch_head = {}
    if has_patch_head:
        patch_head = {
            "patch_projector": _token_head(projector),
            "patch_prototypes": layers.Prototypes(prototypes),
        }
    return make(*parts, momentum=momentum, **patch_head)


def ibot(train: Images, width: int, **recipe: Any) -> Trainer:
    return _masked_distillation(trainers.iBOT, width, **recipe, has_patch_head=False)


def dino_v2(train: Images, width: int, **recipe: Any) -> Trainer:
    return _masked_distillation(trainers.DINOv2, width, **recipe, has_patch_head=True)


def dino_vit(
    train: Images,
    width: int,
    projector: Sequence[int],
    prototypes: int,
    smallest_crop: float,
    momentum: float,
) -> Trainer:
    return trainers.DINO(
        small_vit(width),
        _token_head(projector),
        layers.Prototypes(prototypes),
        two_views(smallest_crop),
        momentum=momentum,
    )


def msn_vit(train: Images, width: int, masked: float, **recipe: Any) -> Trainer:
    return _msn(small_vit(width), hide=[], **recipe, masking=layers.RandomMasking(masked))


METHODS = {
    "SimCLR": Method(simclr),
    "DCL": Method(dcl),
    "DCLW": Method(dclw),
    "MoCo": Method(moco),
    "DenseCL": Method(dense_cl),
    "MoCoV3": Method(moco_v3),
    "NNCLR": Method(nnclr),
    "InstanceDiscrimination": Method(instance_discrimination, indexed),
    "CPC": Method(cpc),
    "DeepInfoMax": Method(deep_info_max),
    "SupCon": Method(sup_con, labelled),
    "SwAV": Method(swav),
    "DeepClusterV2": Method(deep_cluster_v2, indexed),
    "BarlowTwins": Method(barlow_twins),
    "VICReg": Method(vicreg),
    "VICRegL": Method(vicregl),
    "TiCo": Method(tico),
    "FroSSL": Method(frossl),
    "WMSE": Method(w_mse),
    "LeJEPA": Method(lejepa),
    "MMCR": Method(mmcr),
    "BYOL": Method(byol),
    "SimSiam": Method(simsiam),
    "DINO": Method(dino),
    "MSN": Method(msn),
    "PMSN": Method(pmsn),
    "KnowledgeDistillation": Method(knowledge_distillation),
    "RotationPrediction": Method(rotation),
    "RelativePatchPosition": Method(relative_position),
    "JigsawPuzzle": Method(jigsaw),
    "Colorization": Method(colorization),
    "ContextEncoder": Method(context_encoder),
    "Autoencoder": Method(autoencoder),
    "VAE": Method(vae, encoder=trained_part),
    "Diffusion": Method(diffusion, encoder=best_features),
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
    "DINO, ViT": Method(dino_vit),
    "MSN, ViT": Method(msn_vit),
}
