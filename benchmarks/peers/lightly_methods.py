"""Methods in PyTorch, out of the parts that Lightly gives, put together as its examples do."""

import copy

import torch
import torchvision_cpu  # noqa: F401
from images import SCALE
from lightly import loss as losses
from lightly.loss.lejepa_loss import lejepa_invariance_loss
from lightly.models.modules import NNMemoryBankModule, heads
from lightly.models.utils import (
    deactivate_requires_grad,
    random_token_mask,
    select_most_similar,
    update_momentum,
)
from lightly.transforms import (
    DINOTransform,
    MSNTransform,
    SimCLRTransform,
    SwaVTransform,
    VICRegLTransform,
)
from small_resnet import as_keras, small_resnet
from torch import Tensor, nn
from training_run import Method


def two_views(strength: float = 0.5) -> SimCLRTransform:
    """SimCLR's views of CIFAR-10."""
    return SimCLRTransform(input_size=32, cj_strength=strength, gaussian_blur=0.0, normalize=SCALE)


def two_crops(smallest_crop: float) -> DINOTransform:
    """DINO's global views, without local ones, as for CIFAR-10."""
    return DINOTransform(
        global_crop_size=32,
        global_crop_scale=(smallest_crop, 1.0),
        n_local_views=0,
        cj_strength=0.5,
        cj_sat=0.8,
        gaussian_blur=(0.0, 0.0, 0.0),
        solarization_prob=0.0,
        normalize=SCALE,
    )


def two_layers(features: int, widths: list[int], normalize_output: bool = True) -> nn.Module:
    """A projector of two layers, as for CIFAR-10."""
    hidden, dim = widths
    last = nn.BatchNorm1d(dim) if normalize_output else None
    return as_keras(
        heads.ProjectionHead(
            [
                (features, hidden, nn.BatchNorm1d(hidden), nn.ReLU(inplace=True)),
                (hidden, dim, last, None),
            ]
        )
    )


class Contrastive(Method):
    """SimCLR, with the loss that a subclass names."""

    criterion_class = losses.NTXentLoss

    def __init__(self, width: int, projector: list[int], temperature: float):
        super().__init__()
        self.transform = two_views()
        self.encoder = small_resnet(width)
        self.projector = as_keras(heads.SimCLRProjectionHead(4 * width, *projector))
        self.criterion = self.criterion_class(temperature=temperature)

    def forward(self, views: list[Tensor]) -> Tensor:
        return self.criterion(*(self.projector(self.encoder(view)) for view in views))


class SimCLR(Contrastive):
    """NT-Xent."""


class DCL(Contrastive):
    """Decoupled contrastive loss."""

    criterion_class = losses.DCLLoss


class DCLW(Contrastive):
    """Decoupled contrastive loss, positives weighted."""

    criterion_class = losses.DCLWLoss


class WithTeacher(Method):
    """A method whose encoder and projector have a moving average."""

    def start_teacher(self, momentum: float, projector: nn.Module | None = None) -> None:
        """Copies encoder and projector; where PyTorch cannot, into the `projector` given."""
        self.momentum = momentum
        if projector is None:
            projector = copy.deepcopy(self.projector)
        projector.load_state_dict(self.projector.state_dict())
        self.teacher = nn.ModuleList([copy.deepcopy(self.encoder), projector])
        deactivate_requires_grad(self.teacher)

    def before_step(self) -> None:
        for student, teacher in zip((self.encoder, self.projector), self.teacher, strict=True):
            update_momentum(student, teacher, m=self.momentum)

    @torch.no_grad()
    def teach(self, view: Tensor) -> Tensor:
        """The teacher's projection of a view."""
        encoder, projector = self.teacher
        return projector(encoder(view))


class MoCo(WithTeacher):
    """MoCo v2; the loss holds the queue."""

    def __init__(
        self, width: int, projector: list[int], temperature: float, queue: int, momentum: float
    ):
        super().__init__()
        self.transform = two_views()
        self.encoder = small_resnet(width)
        self.projector = as_keras(heads.MoCoProjectionHead(4 * width, *projector))
        self.criterion = losses.NTXentLoss(
            temperature=temperature, memory_bank_size=(queue, projector[-1])
        )
        self.start_teacher(momentum)

    def forward(self, views: list[Tensor]) -> Tensor:
        query = self.projector(self.encoder(views[0]))
        return self.criterion(query, self.teach(views[1]))


class DenseCL(WithTeacher):
    """MoCo with a second loss, of positions, whose queue holds the keys of all positions."""

    def __init__(
        self, width: int, projector: list[int], temperature: float, queue: int, momentum: float
    ):
        super().__init__()
        self.transform = two_views()
        self.encoder = small_resnet(width)
        self.projector, self.criteria = nn.ModuleList(), nn.ModuleList()
        for _ in range(2):
            self.projector.append(as_keras(heads.DenseCLProjectionHead(4 * width, *projector)))
            bank = (queue, projector[-1])
            self.criteria.append(losses.NTXentLoss(temperature, memory_bank_size=bank))
        self.start_teacher(momentum)

    @staticmethod
    def embed(encoder: nn.Sequential, projectors: nn.ModuleList, view: Tensor) -> list[Tensor]:
        """Features of positions, the projection of the view and those of its positions."""
        maps = encoder[:-2](view)
        positions = maps.flatten(start_dim=2).transpose(1, 2)
        of_view, of_positions = projectors
        return [positions, of_view(encoder[-2:](maps)), of_positions(positions)]

    def forward(self, views: list[Tensor]) -> Tensor:
        positions, query, queries = self.embed(self.encoder, self.projector, views[0])
        with torch.no_grad():
            positions_k, key, keys = self.embed(*self.teacher, views[1])
            keys = select_most_similar(positions, positions_k, keys)
        of_view, of_positions = self.criteria
        local = of_positions(queries.flatten(end_dim=1), keys.flatten(end_dim=1))
        return 0.5 * of_view(query, key) + 0.5 * local


class BYOL(WithTeacher):
    """A student that predicts its teacher's projections."""

    def __init__(self, width: int, projector: list[int], predictor: int, momentum: float):
        super().__init__()
        self.transform = two_views()
        self.encoder = small_resnet(width)
        self.projector = as_keras(heads.BYOLProjectionHead(4 * width, *projector))
        dim = projector[-1]
        self.predictor = as_keras(heads.BYOLPredictionHead(dim, predictor, dim))
        self.criterion = losses.NegativeCosineSimilarity()
        self.start_teacher(momentum)

    def forward(self, views: list[Tensor]) -> Tensor:
        p0, p1 = (self.predictor(self.projector(self.encoder(view))) for view in views)
        z0, z1 = (self.teach(view) for view in views)
        return 0.5 * (self.criterion(p0, z1) + self.criterion(p1, z0))


class SimSiam(Method):
    """A predictor and a stopped gradient; two layers of projector, as for CIFAR-10."""

    def __init__(self, width: int, projector: list[int], predictor: int):
        super().__init__()
        self.transform = two_views()
        self.encoder = small_resnet(width)
        self.projector = two_layers(4 * width, projector)
        dim = projector[-1]
        self.predictor = as_keras(heads.SimSiamPredictionHead(dim, predictor, dim))
        self.criterion = losses.NegativeCosineSimilarity()

    def forward(self, views: list[Tensor]) -> Tensor:
        z0, z1 = (self.projector(self.encoder(view)) for view in views)
        p0, p1 = self.predictor(z0), self.predictor(z1)
        return 0.5 * (self.criterion(z0.detach(), p1) + self.criterion(z1.detach(), p0))


class Redundancy(Method):
    """Two layers of projector, as for CIFAR-10, and the loss that a subclass names."""

    criterion_class: type[nn.Module]

    def __init__(self, width: int, projector: list[int]):
        super().__init__()
        self.transform = two_views()
        self.encoder = small_resnet(width)
        self.projector = two_layers(4 * width, projector, normalize_output=False)
        self.criterion = self.criterion_class()

    def forward(self, views: list[Tensor]) -> Tensor:
        return self.criterion(*(self.projector(self.encoder(view)) for view in views))


class BarlowTwins(Redundancy):
    """Correlations drawn to the identity."""

    criterion_class = losses.BarlowTwinsLoss


class VICReg(Redundancy):
    """Variance, invariance and covariance."""

    criterion_class = losses.VICRegLoss


class VICRegL(Method):
    """Two global views, no local ones; Lightly's crops come with their grids."""

    def __init__(
        self, width: int, projector: list[int], local_projector: list[int], matches: list[int]
    ):
        super().__init__()
        self.transform = VICRegLTransform(
            global_crop_size=32,
            n_local_views=0,
            global_crop_scale=(0.08, 1.0),
            global_grid_size=4,
            global_gaussian_blur_prob=0.0,
            cj_prob=0.8,
            cj_sat=0.8,
            normalize=SCALE,
        )
        self.encoder = small_resnet(width)
        self.projector = two_layers(4 * width, projector, normalize_output=False)
        hidden, dim = local_projector
        self.local_projector = as_keras(
            heads.ProjectionHead(
                [
                    (4 * width, hidden, nn.LayerNorm(hidden), nn.ReLU(inplace=True)),
                    (hidden, dim, None, None),
                ]
            )
        )
        self.criterion = losses.VICRegLLoss(num_matches=tuple(matches))

    def forward(self, views: list[Tensor]) -> Tensor:
        *images, grid_0, grid_1 = views
        features = []
        for image in images:
            maps = self.encoder[:-2](image)
            local = self.local_projector(maps.permute(0, 2, 3, 1))
            features.append((self.projector(self.encoder[-2:](maps)), local))
        return self.criterion(features, [grid_0, grid_1]).sum()


class FroSSL(Redundancy):
    """Frobenius norms of correlations."""

    criterion_class = losses.FroSSLLoss

    def forward(self, views: list[Tensor]) -> Tensor:
        return self.criterion([self.projector(self.encoder(view)) for view in views])


class WMSE(Redundancy):
    """Views whitened in random sub-batches."""

    criterion_class = losses.WMSELoss

    def __init__(self, width: int, projector: list[int], sub_batch: int):
        super().__init__(width, projector)
        self.criterion = losses.WMSELoss(embedding_dim=projector[-1], w_size=sub_batch)

    def forward(self, views: list[Tensor]) -> Tensor:
        return self.criterion(torch.cat([self.projector(self.encoder(view)) for view in views]))


class LeJEPA(Redundancy):
    """Two global views, no local ones, which Lightly's loss demands: so of the loss's two terms."""

    criterion_class = losses.LeJEPALoss

    def __init__(self, width: int, projector: list[int], directions: int):
        super().__init__(width, projector)
        self.criterion = losses.LeJEPALoss(sigreg_num_vectors=directions)

    def forward(self, views: list[Tensor]) -> Tensor:
        z = self.projector(self.encoder(torch.cat(views)))  # both at once, as ours
        z = torch.stack(z.chunk(2))
        weight = self.criterion.lambda_param
        invariance = lejepa_invariance_loss(all_proj=z, global_proj=z)
        return weight * self.criterion.sigreg(z) + (1 - weight) * invariance


class TiCo(WithTeacher):
    """A moving covariance in place of negatives."""

    def __init__(self, width: int, projector: list[int], momentum: float):
        super().__init__()
        self.transform = two_views()
        self.encoder = small_resnet(width)
        self.projector = two_layers(4 * width, projector, normalize_output=False)
        self.criterion = losses.TiCoLoss()
        self.start_teacher(momentum)

    def forward(self, views: list[Tensor]) -> Tensor:
        return self.criterion(self.projector(self.encoder(views[0])), self.teach(views[1]))


class MMCR(WithTeacher):
    """Nuclear norms of the embeddings of student and teacher, scaled to length 1."""

    def __init__(self, width: int, projector: list[int], momentum: float):
        super().__init__()
        self.transform = two_views()
        self.encoder = small_resnet(width)
        self.projector = two_layers(4 * width, projector, normalize_output=False)
        self.criterion = losses.MMCRLoss()
        self.start_teacher(momentum)

    def forward(self, views: list[Tensor]) -> Tensor:
        student = [self.projector(self.encoder(view)) for view in views]
        teacher = [self.teach(view) for view in views]
        z = (nn.functional.normalize(torch.stack(one, 1), dim=-1) for one in (student, teacher))
        return self.criterion(*z)


class NNCLR(Method):
    """Nearest neighbours in a memory bank; two layers of projector, as for CIFAR-10."""

    def __init__(
        self, width: int, projector: list[int], predictor: int, temperature: float, queue: int
    ):
        super().__init__()
        self.transform = two_views()
        self.encoder = small_resnet(width)
        self.projector = two_layers(4 * width, projector)
        dim = projector[-1]
        self.predictor = as_keras(heads.NNCLRPredictionHead(dim, predictor, dim))
        self.memory_bank = NNMemoryBankModule(size=(queue, dim))
        self.criterion = losses.NTXentLoss(temperature=temperature)

    def forward(self, views: list[Tensor]) -> Tensor:
        z0, z1 = (self.projector(self.encoder(view)) for view in views)
        p0, p1 = self.predictor(z0), self.predictor(z1)
        z0 = self.memory_bank(z0.detach(), update=False)
        z1 = self.memory_bank(z1.detach(), update=True)
        return 0.5 * (self.criterion(z0, p1) + self.criterion(z1, p0))


class SwAV(Method):
    """Two global views, no local ones, as in Lightly's benchmark on CIFAR-10."""

    def __init__(self, width: int, projector: list[int], prototypes: int, smallest_crop: float):
        super().__init__()
        self.transform = SwaVTransform(
            crop_sizes=(32,),
            crop_counts=(2,),
            crop_min_scales=(smallest_crop,),
            crop_max_scales=(1.0,),
            cj_strength=0.5,
            gaussian_blur=0.0,
            normalize=SCALE,
        )
        self.encoder = small_resnet(width)
        self.projector = as_keras(heads.SwaVProjectionHead(4 * width, *projector))
        self.prototypes = heads.SwaVPrototypes(projector[-1], prototypes)
        for layer in self.prototypes.heads:
            layer.register_parameter("bias", None)  # the paper's have none
        self.criterion = losses.SwaVLoss()

    def before_step(self) -> None:
        self.prototypes.normalize()

    def forward(self, views: list[Tensor]) -> Tensor:
        z = (nn.functional.normalize(self.projector(self.encoder(view))) for view in views)
        return self.criterion([self.prototypes(each) for each in z], [])


class DINO(WithTeacher):
    """Two global views, no local ones, two layers of projector, as for CIFAR-10."""

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
        self.encoder = small_resnet(width)
        self.projector = self._head(4 * width, projector, prototypes)
        self.criterion = losses.DINOLoss(output_dim=prototypes)
        self.start_teacher(momentum, self._head(4 * width, projector, prototypes))

    @staticmethod
    def _head(features: int, projector: list[int], prototypes: int) -> nn.Module:
        hidden, dim = projector
        head = heads.DINOProjectionHead(features, hidden, dim, prototypes)
        head.layers = as_keras(
            heads.ProjectionHead(
                [
                    (features, hidden, nn.BatchNorm1d(hidden), nn.GELU()),
                    (hidden, dim, None, None),
                ]
            ).layers
        )
        return head

    def forward(self, views: list[Tensor]) -> Tensor:
        teacher = [self.teach(view) for view in views]
        return self.criterion(teacher, [self.projector(self.encoder(view)) for view in views])


class MSN(WithTeacher):
    """Patches hidden in the image, since the encoder has no tokens to leave out; focal views."""

    criterion_class = losses.MSNLoss

    def __init__(
        self,
        width: int,
        projector: list[int],
        prototypes: int,
        focal_views: int,
        masked: float,
        momentum: float,
    ):
        super().__init__()
        self.transform = MSNTransform(
            random_size=32,
            focal_size=16,
            random_views=2,
            focal_views=focal_views,
            cj_strength=0.5,
            gaussian_blur=0.0,
            normalize=SCALE,
        )
        self.masked = masked
        self.encoder, features = self.make_encoder(width)
        hidden, _, dim = projector
        self.projector = as_keras(heads.MSNProjectionHead(features, hidden, dim))
        self.prototypes = nn.Parameter(nn.Linear(dim, prototypes, bias=False).weight.detach())
        self.criterion = self.criterion_class()
        self.start_teacher(momentum)

    def make_encoder(self, width: int) -> tuple[nn.Module, int]:
        """The encoder, and the number of its features."""
        return small_resnet(width), 4 * width

    def encode_masked(self, view: Tensor) -> Tensor:
        """Features of views with a share of the patches put to the middle of the range."""
        _, hidden = random_token_mask((len(view), 64), self.masked, mask_class_token=True)
        seen = torch.ones(len(view), 64).scatter_(1, hidden, 0.0).view(-1, 1, 8, 8)
        return self.encoder(view * nn.functional.interpolate(seen, size=view.shape[2:]))

    def forward(self, views: list[Tensor]) -> Tensor:
        target, anchor, *focal = views
        features = [self.encode_masked(anchor), self.encoder(torch.cat(focal))]
        z = torch.cat([self.projector(each) for each in features])
        return self.criterion(z, self.teach(target), self.prototypes)


class PMSN(MSN):
    """MSN with a power law for the sizes of clusters."""

    criterion_class = losses.PMSNLoss


METHODS: dict[str, type[Method]] = {
    "SimCLR": SimCLR,
    "DCL": DCL,
    "DCLW": DCLW,
    "MoCo": MoCo,
    "DenseCL": DenseCL,
    "NNCLR": NNCLR,
    "SwAV": SwAV,
    "DINO": DINO,
    "MSN": MSN,
    "PMSN": PMSN,
    "BYOL": BYOL,
    "SimSiam": SimSiam,
    "BarlowTwins": BarlowTwins,
    "VICReg": VICReg,
    "VICRegL": VICRegL,
    "TiCo": TiCo,
    "FroSSL": FroSSL,
    "WMSE": WMSE,
    "LeJEPA": LeJEPA,
    "MMCR": MMCR,
}
