"""Evaluation of learned representations."""

from keras_ssl.evaluate.attentive_probe import attentive_probe
from keras_ssl.evaluate.cooccurrence import cooccurrence_counts, cooccurrence_vectors
from keras_ssl.evaluate.downstream.anomalies import (
    anomaly_metrics,
    anomaly_report,
    detector_anomaly_scores,
    knn_anomaly_scores,
    mahalanobis_anomaly_scores,
)
from keras_ssl.evaluate.downstream.clustering_metrics import clustering_metrics
from keras_ssl.evaluate.downstream.combining.average_weights import average_weights
from keras_ssl.evaluate.downstream.combining.combine import CombinationReport, combine
from keras_ssl.evaluate.downstream.combining.experts import (
    mixture_of_experts,
    product_of_experts,
)
from keras_ssl.evaluate.downstream.compare import Comparison, compare
from keras_ssl.evaluate.downstream.dense.composites import composites
from keras_ssl.evaluate.downstream.dense.dense_probe import DenseProbeResult, dense_probe
from keras_ssl.evaluate.downstream.few_labels import FewLabelsReport, few_labels
from keras_ssl.evaluate.downstream.independent_components import (
    independent_components,
    mean_correlation_coefficient,
)
from keras_ssl.evaluate.downstream.k_means import KMeansResult, k_means
from keras_ssl.evaluate.downstream.matching.canonical_correlation import CanonicalCorrelation
from keras_ssl.evaluate.downstream.matching.optimal_transport_matching import (
    OptimalTransportMatching,
)
from keras_ssl.evaluate.downstream.matching.procrustes_alignment import ProcrustesAlignment
from keras_ssl.evaluate.downstream.near_duplicates import near_duplicates
from keras_ssl.evaluate.downstream.propagate_labels import propagate_labels
from keras_ssl.evaluate.downstream.retrieval import retrieval_metrics
from keras_ssl.evaluate.downstream.search_index import SearchIndex
from keras_ssl.evaluate.downstream.zero_shot import ZeroShotClassifier, zero_shot_classifier
from keras_ssl.evaluate.features import extract_features, raw_pixels
from keras_ssl.evaluate.fine_tune import fine_tune
from keras_ssl.evaluate.graph_probes import graph_probe, link_prediction, node_probe
from keras_ssl.evaluate.knn import knn_accuracy, knn_predict
from keras_ssl.evaluate.linear_probe import LinearProbe, linear_probe
from keras_ssl.evaluate.mc_dropout import mc_dropout
from keras_ssl.evaluate.random_encoder import random_encoder
from keras_ssl.evaluate.recalibrate import recalibrate
from keras_ssl.evaluate.report import RepresentationReport, representation_report
from keras_ssl.evaluate.sample_quality import (
    frechet_distance,
    kernel_distance,
    precision_recall,
)
from keras_ssl.evaluate.spectrum import effective_rank, feature_std
from keras_ssl.evaluate.text import alignment, perplexity, sentence_similarity, uniformity
from keras_ssl.evaluate.word_vectors import word_analogy, word_similarity

__all__ = [
    "CanonicalCorrelation",
    "CombinationReport",
    "Comparison",
    "DenseProbeResult",
    "FewLabelsReport",
    "KMeansResult",
    "LinearProbe",
    "OptimalTransportMatching",
    "ProcrustesAlignment",
    "RepresentationReport",
    "SearchIndex",
    "ZeroShotClassifier",
    "alignment",
    "anomaly_metrics",
    "anomaly_report",
    "attentive_probe",
    "average_weights",
    "clustering_metrics",
    "combine",
    "compare",
    "composites",
    "cooccurrence_counts",
    "cooccurrence_vectors",
    "dense_probe",
    "detector_anomaly_scores",
    "effective_rank",
    "extract_features",
    "feature_std",
    "few_labels",
    "fine_tune",
    "frechet_distance",
    "graph_probe",
    "independent_components",
    "k_means",
    "kernel_distance",
    "knn_accuracy",
    "knn_anomaly_scores",
    "knn_predict",
    "linear_probe",
    "link_prediction",
    "mahalanobis_anomaly_scores",
    "mc_dropout",
    "mean_correlation_coefficient",
    "mixture_of_experts",
    "near_duplicates",
    "node_probe",
    "perplexity",
    "precision_recall",
    "product_of_experts",
    "propagate_labels",
    "random_encoder",
    "raw_pixels",
    "recalibrate",
    "representation_report",
    "retrieval_metrics",
    "sentence_similarity",
    "uniformity",
    "word_analogy",
    "word_similarity",
    "zero_shot_classifier",
]
