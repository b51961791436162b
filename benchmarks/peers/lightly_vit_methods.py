"""Methods that hide patches, of Lightly's parts, put together as its examples do.

The vision transformer is timm's, in Lightly's `MaskedVisionTransformerTIMM`. Where counts of hidden
patches vary in Lightly and are fixed on our side, each side has its own.
"""

import copy

import torch
from images import SCALE
from lightly import loss as losses
from lightly.data.ijepa_collate import IJEPAMaskCollator
from lightly.models import utils
from lightly.models.modules import (
    IJEPAPredictorTIMM,
    MAEDecoderTIMM,
    MaskedVisionTransformerTIMM,
    heads,
)
from lightly.transforms import MAETransform
from lightly_methods import WithTeacher, as_keras, two_crops
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from training_run import Method

GRID, PATCHES = (8, 8), 64


class Encoder(nn.Module):
    """A vision transformer of four blocks on 64 patches, and its features."""

    def __init__(self, width: int, positions: str = "learn", class_token: bool = True):
        super().__init__()
        vit = VisionTransformer(
            32,
            4,
            num_classes=0,
            embed_dim=width,
            depth=4,
            num_heads=4,
            class_token=class_token,
            global_pool="token" if class_token else "avg",
            fc_norm=False,
        )
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


class IJEPA(WithTeacher):
    """Blocks predicted from their context."""

    def __init__(self, width: int, predictor: list[int], momentum: float):
        super().__init__()
        predictor_width, depth, num_heads = predictor
        # crops and flips as on our side; I-JEPA's own transform returns no list of views
        self.transform = MAETransform(input_size=32, normalize=SCALE)
        self.encoder = without_mask_token(Encoder(width, class_token=False))
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


class IBOT(WithTeacher):
    """An online tokenizer: class token across views, hidden patches within a view."""

    def __init__(
        self,
        width: int,
        projector: list[int],
        prototypes: int,
        hidden: float,
        smallest: int,
        smallest_crop: float,
        momentum: float,
    ):
        super().__init__()
        self.transform = two_crops(smallest_crop)
        self.hidden, self.smallest = hidden, smallest
        self.encoder = Encoder(width)
        self.projector = self._head(width, projector, prototypes)
        self.criterion = losses.DINOLoss(output_dim=prototypes)
        self.patch_criterion = losses.IBOTPatchLoss(output_dim=prototypes)
        self.start_teacher(momentum, self._head(width, projector, prototypes))

    @staticmethod
    def _head(features: int, projector: list[int], prototypes: int) -> nn.Module:
        hidden, dim = projector
        head = heads.DINOProjectionHead(features, hidden, dim, prototypes, batch_norm=False)
        layers = [(features, hidden, None, nn.GELU()), (hidden, dim, None, None)]
        head.layers = as_keras(heads.ProjectionHead(layers).layers)
        return head

    def forward(self, views: list[Tensor]) -> Tensor:
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
        of_patches = self.projector(seen[:, 1:][patches])
        with torch.no_grad():
            encoder, projector = self.teacher
            whole = encoder.tokens.encode(both)
            teacher = projector(whole[:, 0]).chunk(2)
            truth = projector(whole[:, 1:][patches])
        loss = self.patch_criterion(truth, of_patches, mask)
        return loss + self.criterion(list(teacher), list(student))


VIT_METHODS: dict[str, type[Method]] = {"MAE": MAE, "IJEPA": IJEPA, "iBOT": IBOT}
