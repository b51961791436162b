"""Losses of labels that ask scores or distances to differ by a margin."""

from keras_ssl.losses.margin.classes import (
    MultiClassHinge,
    MultiLabelMargin,
    multi_class_hinge,
    multi_label_margin,
)
from keras_ssl.losses.margin.pairs import (
    ContrastiveMargin,
    CosineEmbedding,
    MarginRanking,
    contrastive_margin,
    cosine_embedding,
    margin_ranking,
)
from keras_ssl.losses.margin.signs import (
    HingeEmbedding,
    SoftMargin,
    hinge_embedding,
    soft_margin,
)
from keras_ssl.losses.margin.triplet_margin import TripletMargin, triplet_margin

__all__ = [
    "ContrastiveMargin",
    "CosineEmbedding",
    "HingeEmbedding",
    "MarginRanking",
    "MultiClassHinge",
    "MultiLabelMargin",
    "SoftMargin",
    "TripletMargin",
    "contrastive_margin",
    "cosine_embedding",
    "hinge_embedding",
    "margin_ranking",
    "multi_class_hinge",
    "multi_label_margin",
    "soft_margin",
    "triplet_margin",
]
