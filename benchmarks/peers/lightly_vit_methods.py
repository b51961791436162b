"""Methods that hide patches, of Lightly's parts, put together as its examples do.

The vision transformer is timm's, in Lightly's `MaskedVisionTransformerTIMM`. Where counts of hidden
patches vary in Lightly and are fixed on our side, each side has its own.
"""

import copy

import lightly_methods
import torch
from images import SCALE
from lightly import loss as losses
from lightly.data.ijepa_collate import IJEPAMaskCollator
from lightly.models import utils
from lightly.models.modules import (
    AIMPredictionHead,
    CAPIPredictorTIMM,
    IJEPAPredictorTIMM,
    MAEDecoderTIMM,
    MaskedCausalVisionTransformer,
    MaskedVisionTransformerTIMM,
    heads,
)
from lightly.transforms import MAETransform
from lightly_methods import WithTeacher, as_keras, two_crops
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from training_run import Method

GRID, PATCHES = (8, 8), 64


def make_vit(
    width: int, features: str = "token", class_token: bool = True, of: type = VisionTransformer
) -> VisionTransformer:
    """A vision transformer of four blocks on 64 patches; of images of other sizes, too."""
    return of(
        32,
        4,
        num_classes=0,
        embed_dim=width,
        depth=4,
        num_heads=4,
        class_token=class_token,
        global_pool=features,
        fc_norm=False,
        dynamic_img_size=of is VisionTransformer,
    )


class Encoder(nn.Module):
    """The vision transformer, and its features: the class token, or the mean of the patches."""

    def __init__(
        self,
        width: int,
        positions: str = "learn",
        features: str = "token",
        class_token: bool = True,
    ):
        super().__init__()
        vit = make_vit(width, features, class_token)
        self.tokens = MaskedVisionTransformerTIMM(
            vit, weight_initialization="skip", pos_embed_initialization=positions
        )
        as_keras(self.tokens)

    def forward(self, images: Tensor) -> Tensor:
        return self.tokens(images)


def without_mask_token(encoder: Encoder) -> Encoder:
    """The encoder without the token that Lightly gives it and the method does not use."""
    encoder.tokens.mask_token.requires_grad_(False)
    return encoder


class MAE(Method):
    """A masked autoencoder."""

    def __init__(self, width: int, hidden: float, decoder: list[int]):
        super().__init__()
        decoder_width, depth, num_heads = decoder
        self.transform = MAETransform(input_size=32, normalize=SCALE)
        self.encoder = without_mask_token(Encoder(width, "sincos"))
        self.hidden = hidden
        self.decoder = as_keras(
            MAEDecoderTIMM(
                num_patches=PATCHES,
                patch_size=4,
                embed_dim=width,
                decoder_embed_dim=decoder_width,
                decoder_depth=depth,
                decoder_num_heads=num_heads,
            )
        )

    def forward(self, views: list[Tensor]) -> Tensor:
        images = views[0]
        size = (len(images), PATCHES + 1)
        keep, mask = utils.random_token_mask(size=size, mask_ratio=self.hidden)
        encoded = self.decoder.embed(self.encoder.tokens.encode(images=images, idx_keep=keep))
        tokens = utils.repeat_token(self.decoder.mask_token, size)
        tokens = utils.set_at_index(tokens, keep, encoded)
        predicted = self.decoder.predict(utils.get_at_index(self.decoder.decode(tokens), mask))
        patches = utils.patchify(images, 4)
        target = utils.normalize_mean_var(utils.get_at_index(patches, mask - 1), dim=-1)
        return nn.functional.mse_loss(predicted, target)


class SimMIM(Method):
    """Hidden pixels predicted by one layer; patches are hidden in squares, as on our side."""

    def __init__(self, width: int, hidden: float, unit: int):
        super().__init__()
        self.transform = MAETransform(input_size=32, normalize=SCALE)
        self.encoder = Encoder(width, features="avg")
        self.hidden, self.unit = hidden, unit
        self.decoder = as_keras(nn.Linear(width, 3 * 4**2))

    def forward(self, views: list[Tensor]) -> Tensor:
        images = views[0]
        side = GRID[0] // self.unit
        mask = torch.zeros(len(images), side**2)
        _, chosen = utils.random_token_mask(mask.shape, self.hidden, mask_class_token=True)
        mask = mask.scatter_(1, chosen, 1.0).view(-1, 1, side, side)
        patches = nn.functional.interpolate(mask, size=GRID).flatten(1).bool()
        with_class = torch.cat([torch.zeros(len(images), 1, dtype=torch.bool), patches], dim=1)
        seen = self.encoder.tokens.encode(images, mask=with_class)
        predicted = self.decoder(seen[:, 1:][patches])
        return nn.functional.l1_loss(predicted, utils.patchify(images, 4)[patches])


class CausalEncoder(nn.Module):
    """The vision transformer without class token, whose attention may be causal."""

    def __init__(self, width: int):
        super().__init__()
        self.vit = make_vit(width, "avg", class_token=False, of=MaskedCausalVisionTransformer)
        utils.initialize_2d_sine_cosine_positional_embedding(self.vit.pos_embed, False)
        as_keras(self.vit)

    def forward(self, images: Tensor) -> Tensor:
        return self.vit.forward_features(images).mean(1)


class AIM(Method):
    """Each patch predicted from those before it, of which a random prefix sees itself whole."""

    def __init__(self, width: int, head: list[int]):
        super().__init__()
        hidden, depth = head
        self.transform = MAETransform(input_size=32, normalize=SCALE)
        self.encoder = CausalEncoder(width)
        self.head = as_keras(AIMPredictionHead(width, 3 * 4**2, hidden, depth, mlp_ratio=1.0))

    def forward(self, views: list[Tensor]) -> Tensor:
        images = views[0]
        is_after = utils.random_prefix_mask((len(images), PATCHES), PATCHES - 1)
        tokens = self.encoder.vit.forward_features(images, mask=is_after)
        target = utils.normalize_mean_var(utils.patchify(images, 4), dim=-1)
        error = (self.head(tokens[:, :-1]) - target[:, 1:]).square().mean(-1)
        return error[is_after[:, 1:]].mean()


class IJEPA(WithTeacher):
    """Blocks predicted from their context."""

    def __init__(self, width: int, predictor: list[int], momentum: float):
        super().__init__()
        predictor_width, depth, num_heads = predictor
        # crops and flips as on our side; I-JEPA's own transform returns no list of views
        self.transform = MAETransform(input_size=32, normalize=SCALE)
        self.encoder = without_mask_token(Encoder(width, features="avg", class_token=False))
        self.predictor = as_keras(
            IJEPAPredictorTIMM(PATCHES, depth, width, predictor_width, num_heads)
        )
        self.draw = IJEPAMaskCollator(
            (32, 32),
            4,
            enc_mask_scale=(0.85, 1.0),
            pred_mask_scale=(0.15, 0.2),
            aspect_ratio=(0.75, 1.5),
            npred=4,
        )
        self.momentum = momentum
        self.teacher = copy.deepcopy(self.encoder)
        utils.deactivate_requires_grad(self.teacher)

    def before_step(self) -> None:
        utils.update_momentum(self.encoder, self.teacher, m=self.momentum)

    def forward(self, views: list[Tensor]) -> Tensor:
        _, context, targets = self.draw([(image,) for image in views[0]])
        with torch.no_grad():
            whole = self.teacher.tokens.encode(views[0])
            whole = nn.functional.layer_norm(whole, whole.shape[-1:])
            truth = utils.apply_masks(whole, targets)
        seen = self.encoder.tokens.encode(views[0], idx_keep=context[0])
        return nn.functional.smooth_l1_loss(self.predictor(seen, context, targets), truth)


class CAPI(WithTeacher):
    """Clusters of a teacher's patches; those of hidden patches are predicted."""

    def __init__(
        self, width: int, hidden: float, predictor: list[int], prototypes: int, momentum: float
    ):
        super().__init__()
        depth, num_heads = predictor
        self.transform = MAETransform(input_size=32, normalize=SCALE)
        self.encoder = without_mask_token(Encoder(width, features="avg", class_token=False))
        self.hidden = hidden
        self.predictor = as_keras(CAPIPredictorTIMM(width, GRID, depth, num_heads))
        self.prototypes = heads.CAPIProjectionHead(width, prototypes, weight_norm=True)
        self.clusters = as_keras(heads.CAPIProjectionHead(width, prototypes, bias=True))
        self.criterion = losses.CAPILoss()
        self.momentum = momentum
        self.teacher = copy.deepcopy(self.encoder)
        utils.deactivate_requires_grad(self.teacher)

    def before_step(self) -> None:
        utils.update_momentum(self.encoder, self.teacher, m=self.momentum)

    def forward(self, views: list[Tensor]) -> Tensor:
        images = views[0]
        keep, hidden = utils.random_inverse_block_mask(
            (len(images), PATCHES), self.hidden, num_prefix_tokens=0
        )
        seen = self.encoder.tokens.encode(images, idx_keep=keep)
        predicted = self.prototypes(self.predictor(seen, keep, hidden))
        with torch.no_grad():
            whole = self.teacher.tokens.encode(images)
        scores = self.clusters(whole)
        return self.criterion(scores, predicted, hidden) + self.criterion(scores, scores)


def token_head(features: int, projector: list[int], prototypes: int) -> nn.Module:
    """DINO's head without batch normalisation."""
    hidden, dim = projector
    head = heads.DINOProjectionHead(features, hidden, dim, prototypes, batch_norm=False)
    layers = [(features, hidden, None, nn.GELU()), (hidden, dim, None, None)]
    head.layers = as_keras(heads.ProjectionHead(layers).layers)
    return head


class DINO(WithTeacher):
    """Two global views, no local ones."""

    def __init__(
        self,
        width: int,
        projector: list[int],
        prototypes: int,
        smallest_crop: float,
        momentum: float,
    ):
        super().__init__()
        self.transform = two_crops(smallest_crop)
        self.encoder = without_mask_token(Encoder(width))
        self.projector = token_head(width, projector, prototypes)
        self.criterion = losses.DINOLoss(output_dim=prototypes)
        self.start_teacher(momentum, token_head(width, projector, prototypes))

    def forward(self, views: list[Tensor]) -> Tensor:
        teacher = [self.teach(view) for view in views]
        return self.criterion(teacher, [self.projector(self.encoder(view)) for view in views])


class IBOT(DINO):
    """An online tokenizer: class token across views, hidden patches within a view."""

    def __init__(
        self,
        width: int,
        projector: list[int],
        prototypes: int,
        hidden: float,
        smallest: int,
        **arguments: float,
    ):
        super().__init__(width, projector, prototypes, **arguments)
        self.hidden, self.smallest = hidden, smallest
        self.encoder.tokens.mask_token.requires_grad_(True)
        self.patch_criterion = losses.IBOTPatchLoss(output_dim=prototypes)

    def patch_heads(self) -> tuple[nn.Module, nn.Module]:
        """The heads of the patches, student's and teacher's: those of the class token."""
        return self.projector, self.teacher[1]

    def loss_of(self, views: list[Tensor]) -> tuple[Tensor, Tensor]:
        """The loss, and the student's features of both views."""
        both = torch.cat(views)
        mask = utils.random_block_mask(
            size=(len(both), *GRID),
            min_image_mask_ratio=self.hidden,
            max_image_mask_ratio=self.hidden,
            min_num_masks_per_block=self.smallest,
        )
        patches = mask.flatten(1)
        with_class = torch.cat([torch.zeros(len(both), 1, dtype=torch.bool), patches], dim=1)
        seen = self.encoder.tokens.encode(both, mask=with_class)
        student = self.projector(seen[:, 0]).chunk(2)
        patch_head, teacher_head = self.patch_heads()
        of_patches = patch_head(seen[:, 1:][patches])
        with torch.no_grad():
            encoder, projector = self.teacher
            whole = encoder.tokens.encode(both)
            teacher = projector(whole[:, 0]).chunk(2)
            truth = teacher_head(whole[:, 1:][patches])
        loss = self.patch_criterion(truth, of_patches, mask)
        return loss + self.criterion(list(teacher), list(student)), seen[:, 0]

    def forward(self, views: list[Tensor]) -> Tensor:
        return self.loss_of(views)[0]


class DINOv2(IBOT):
    """iBOT with a head for the patches, and spread features; centred as Lightly does."""

    def __init__(self, width: int, projector: list[int], prototypes: int, **arguments: float):
        super().__init__(width, projector, prototypes, **arguments)
        heads_of_patches = [token_head(width, projector, prototypes) for _ in range(2)]
        self.of_patches, self.taught_of_patches = heads_of_patches
        self.taught_of_patches.load_state_dict(self.of_patches.state_dict())
        utils.deactivate_requires_grad(self.taught_of_patches)
        self.spread = losses.KoLeoLoss()

    def before_step(self) -> None:
        super().before_step()
        utils.update_momentum(self.of_patches, self.taught_of_patches, m=self.momentum)

    def patch_heads(self) -> tuple[nn.Module, nn.Module]:
        return self.of_patches, self.taught_of_patches

    def forward(self, views: list[Tensor]) -> Tensor:
        loss, features = self.loss_of(views)
        return loss + 0.1 * sum(self.spread(each) for each in features.chunk(2))


class MSN(lightly_methods.MSN):
    """Masked patches are left out."""

    def make_encoder(self, width: int) -> tuple[nn.Module, int]:
        return without_mask_token(Encoder(width)), width

    def encode_masked(self, view: Tensor) -> Tensor:
        keep, _ = utils.random_token_mask((len(view), PATCHES + 1), self.masked)
        return self.encoder.tokens.encode(view, idx_keep=keep)[:, 0]


VIT_METHODS: dict[str, type[Method]] = {
    "MAE": MAE,
    "SimMIM": SimMIM,
    "AIM": AIM,
    "IJEPA": IJEPA,
    "CAPI": CAPI,
    "iBOT": IBOT,
    "DINOv2": DINOv2,
    "DINO, ViT": DINO,
    "MSN, ViT": MSN,
}
