"""How well clusters agree with classes."""

from typing import Any

import numpy as np

from keras_ssl.evaluate._labels import class_labels, integer_labels, labelled_only


def clustering_metrics(labels: Any, clusters: Any) -> dict[str, float]:
    r"""Compare clusters with classes that the clustering did not see.

    - `accuracy`: each cluster stands for one class and each class for one cluster, in the way that
      is best (the Hungarian algorithm); the share of examples whose cluster stands for their class.
      With more clusters than classes, those that are left stand for none.
    - `normalized_mutual_information`: the mutual information divided by the mean of the entropies.
    - `adjusted_rand_index`: the share of pairs that both put together or both apart, adjusted to be
      0 for chance and 1 for equality.

    Args:
        labels: classes, integers or strings `(examples,)`. Examples with the label -1, which means
            no label, are left out.
        clusters: integers `(examples,)`, of `keras_ssl.evaluate.k_means` or of any of
            scikit-learn's algorithms. -1, the noise of `DBSCAN` and `HDBSCAN`, stands for no class,
            and is one more cluster in the other two measures.

    Returns:
        `{"accuracy": ..., "normalized_mutual_information": ..., "adjusted_rand_index": ...}`, the
        last two by scikit-learn.

    Raises:
        TypeError: if labels are neither integers nor strings, or clusters no integers.
        ValueError: if there are no labels, or numbers of labels and clusters differ.

    Example:

    >>> from keras_ssl import evaluate
    >>> metrics = evaluate.clustering_metrics(["cat", "cat", "dog", "dog"], [1, 1, 0, 1])
    >>> {name: round(value, 3) for name, value in metrics.items()}
    {'accuracy': 0.75, 'normalized_mutual_information': 0.344, 'adjusted_rand_index': 0.0}

    Reference:
        - [Xie et al., Unsupervised Deep Embedding for Clustering Analysis](
          https://arxiv.org/abs/1511.06335), section 5.2: the accuracy
        - [Vinh et al., Information Theoretic Measures for Clusterings Comparison](
          https://jmlr.org/papers/v11/vinh10a.html)
    """
    from scipy.optimize import linear_sum_assignment
    from sklearn import metrics

    labels = class_labels(labels, "labels")
    clusters = integer_labels(clusters, "clusters")
    if len(labels) != len(clusters):
        raise ValueError(
            "`labels` and `clusters` must be equally many. "
            f"Received: {len(labels)} and {len(clusters)}"
        )
    clusters, labels = labelled_only(clusters, labels, "labels")
    counts = metrics.cluster.contingency_matrix(labels, clusters)
    counts = counts[:, np.unique(clusters) != -1]
    matched = counts[linear_sum_assignment(counts, maximize=True)].sum()
    return {
        "accuracy": float(matched / len(labels)),
        "normalized_mutual_information": float(
            metrics.normalized_mutual_info_score(labels, clusters)
        ),
        "adjusted_rand_index": float(metrics.adjusted_rand_score(labels, clusters)),
    }
