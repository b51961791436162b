"""SwAV: predict a view's cluster from the other views."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl.losses._checks import check_same_shape, scores_by_view
from keras_ssl.losses._float32_loss import Float32Loss
from keras_ssl.losses.clustering._cross_view_entropy import cross_view_entropy
from keras_ssl.losses.clustering.sinkhorn_knopp import (
    check_queue_scores,
    sinkhorn_knopp,
)


def swav(
    global_scores: Any,
    local_scores: Any = (),
    queue_scores: Any = (),
    temperature: float = 0.1,
    epsilon: float = 0.05,
    iterations: int = 3,
) -> Any:
    """Swapped prediction of the codes of views, one value an example.

    A view's scores are the cosine similarities of its embeddings and the prototypes. Each of G
    global views gets codes q by `sinkhorn_knopp`, and each of all V views, global and local, is
    a prediction of the codes of the others. With z the scores, τ the temperature:

        l(i) = -1 / (G (V - 1)) Σ_{g ≤ G} Σ_{v ≠ g} Σ_k q_g(i, k) log softmax(z_v(i) / τ)_k

    Codes are those of the batch of all replicas. No gradient flows through them.

    Args:
        global_scores: scores of the global views, a list of G times `(n, prototypes)` or one
            tensor `(G, n, prototypes)`.
        local_scores: those of the local views, which give no codes.
        queue_scores: optional scores of a queue of earlier embeddings, one
            `(any number, prototypes)` a global view, the same on all replicas. They count when
            codes are computed.
        temperature: τ, above 0.
        epsilon: ε of `sinkhorn_knopp`, above 0.
        iterations: those of `sinkhorn_knopp`, at least 1.

    Returns:
        Tensor of shape `(n,)`, at least float32.

    Raises:
        ValueError: if there is no global view, there are fewer than two views or two prototypes,
            shapes differ, the queue's scores are not one a global view, or a number is out of
            its range.
        TypeError: if scores are not floating-point, or a number is of another type.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> z = np.eye(3, dtype="float32")
    >>> [round(float(value), 3) for value in losses.swav([z, z], temperature=0.5)]
    [0.24, 0.24, 0.24]

    Reference:
        - [Caron et al., Unsupervised Learning of Visual Features by Contrasting Cluster
          Assignments](https://arxiv.org/abs/2006.09882)
    """
    checks.positive("temperature", temperature)
    checks.positive("epsilon", epsilon)
    checks.integer("iterations", iterations, minimum=1)
    check_swav_views(global_scores, local_scores, queue_scores)
    givers = scores_by_view(global_scores, "global_scores")
    views = givers + scores_by_view(local_scores, "local_scores")
    queues = list(queue_scores) or [None] * len(givers)
    codes = [
        sinkhorn_knopp(scores, epsilon, iterations, queue)
        for scores, queue in zip(givers, queues, strict=True)
    ]
    return cross_view_entropy(codes, [ops.log_softmax(view / temperature) for view in views])


def check_swav_views(global_scores: Any, local_scores: Any, queue_scores: Any) -> None:
    """Raise unless these are the scores of views that can predict each other's codes.

    Args:
        global_scores: scores of the global views.
        local_scores: those of the local views.
        queue_scores: those of the queue.

    Raises:
        ValueError: as `swav` does.
        TypeError: if scores are not floating-point.

    Example:

    >>> import numpy as np
    >>> from keras_ssl.losses.clustering.swav import check_swav_views
    >>> check_swav_views(np.zeros((2, 4, 10), "float32"), (), ())
    """
    givers = scores_by_view(global_scores, "global_scores")
    views = givers + scores_by_view(local_scores, "local_scores")
    if not givers or len(views) < 2:
        raise ValueError(
            "SwAV needs at least two views, of which `global_scores` holds at least one. "
            f"Received: {len(givers)} in `global_scores`, {len(views) - len(givers)} in "
            "`local_scores`"
        )
    check_same_shape(views, "`global_scores` and `local_scores`")
    if len(queue_scores) not in (0, len(givers)):
        raise ValueError(
            "`queue_scores` must hold the scores of one queue for each of the "
            f"{len(givers)} global views. Received: {len(queue_scores)}"
        )
    for view, queue in enumerate(queue_scores):
        check_queue_scores(queue, givers[view], f"queue_scores[{view}]")


# a trainer has the class's name
@keras.saving.register_keras_serializable(package="keras_ssl")
class SwAVLoss(Float32Loss):
    """Swapped prediction of the codes of views, the loss of SwAV.

    Assigns the embeddings of global views to prototypes, all of which are used equally, and has
    every other view predict the assignment. See `keras_ssl.losses.swav` for the formula. The
    computation is in float32 under mixed precision. Under a `tf.distribute` strategy codes are
    those of the batch of all replicas; as with every Keras loss, the value is then divided by
    the number of replicas.

    Args:
        temperature: float above 0, of the predictions.
        epsilon: float above 0, of the codes: low values give sharp ones.
        iterations: how often Sinkhorn-Knopp normalises, at least 1.
        reduction: as in `keras.losses.Loss`; the default is the mean over the examples.
        name: optional name of the loss.
        dtype: dtype of the computation; by default `keras.config.floatx()`, at least float32.

    Call arguments:
        global_scores: similarities of embeddings and prototypes, for each global view: a list of
            `(batch, prototypes)`, or one tensor `(views, batch, prototypes)`.
        local_scores: the same for local views, which give no codes.
        sample_weight: optional weights of the examples, `(batch,)`.
        queue_scores: optional scores of a queue of earlier embeddings, one
            `(any number, prototypes)` a global view, the same on all replicas.

    Returns:
        A scalar, or the `(batch,)` values of the examples with `reduction=None`.

    Raises:
        ValueError: if there is no global view, there are fewer than two views or two prototypes,
            shapes differ, the queue's scores are not one a global view, or a number is out of
            its range.
        TypeError: if scores are not floating-point, or a number is of another type.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> loss = losses.SwAVLoss(temperature=0.5)
    >>> z = np.eye(3, dtype="float32")
    >>> round(float(loss([z, z])), 3)  # -log(e^2 / (e^2 + 2))
    0.24
    >>> round(float(loss([z], local_scores=[z[::-1]])), 3)
    1.573

    Reference:
        - [Caron et al., Unsupervised Learning of Visual Features by Contrasting Cluster
          Assignments](https://arxiv.org/abs/2006.09882)
    """

    def __init__(
        self,
        temperature: float = 0.1,
        epsilon: float = 0.05,
        iterations: int = 3,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: str | None = None,
    ):
        checks.positive("temperature", temperature)
        checks.positive("epsilon", epsilon)
        checks.integer("iterations", iterations, minimum=1)
        super().__init__(reduction=reduction, name=name, dtype=dtype)
        self.temperature = float(temperature)
        self.epsilon = float(epsilon)
        self.iterations = int(iterations)

    def __call__(
        self,
        global_scores: Any,
        local_scores: Any = (),
        sample_weight: Any = None,
        queue_scores: Any = (),
    ) -> Any:
        """Compute the loss of the views' scores."""
        # before Keras casts, which would hide integers
        check_swav_views(global_scores, local_scores, queue_scores)
        return super().__call__(
            (global_scores, queue_scores), local_scores, sample_weight=sample_weight
        )

    def call(self, inputs: Any, local_scores: Any) -> Any:
        """Return the values of the examples; `inputs` are scores of global views and queues."""
        global_scores, queue_scores = inputs
        return swav(
            global_scores,
            local_scores,
            queue_scores,
            self.temperature,
            self.epsilon,
            self.iterations,
        )

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "temperature": self.temperature,
            "epsilon": self.epsilon,
            "iterations": self.iterations,
        }
