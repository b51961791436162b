"""The loss of SwAV."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl.losses._base import Float32Loss, like
from keras_ssl.losses.clustering._base import check_same_shape, cross_view_entropy, scores_by_view
from keras_ssl.losses.clustering.sinkhorn_knopp import check_queue_scores, sinkhorn_knopp
from keras_ssl.ops.schedules import serialize


def swav(
    global_scores: Any,
    local_scores: Any = (),
    queue_scores: Any = (),
    temperature: Any = 0.1,
    epsilon: float = 0.05,
    iterations: int = 3,
) -> Any:
    """Swapped prediction of the codes of views, one value per example.

    A view's scores are the cosine similarities of its embeddings and the prototypes. Each of G
    global views gets codes q by `sinkhorn_knopp`, and each of all V views, global and local,
    predicts the codes of the others. With z the scores and τ the temperature:

        l(i) = -1 / (G (V - 1)) Σ_{g ≤ G} Σ_{v ≠ g} Σ_k q_g(i, k) log softmax(z_v(i) / τ)_k

    Codes are computed over the batch of all replicas. No gradient flows through them.

    Args:
        global_scores: scores of the global views: a list of G tensors `(n, prototypes)`, or one
            tensor `(G, n, prototypes)`.
        local_scores: those of the local views, which have no codes.
        queue_scores: optional scores of a queue of earlier embeddings, one tensor
            `(any number, prototypes)` per global view, the same on all replicas, which take part
            in the computation of codes.
        temperature: τ, above 0: a number, or a scalar tensor or variable.
        epsilon: ε of `sinkhorn_knopp`, above 0.
        iterations: those of `sinkhorn_knopp`, at least 1.

    Returns:
        Tensor of shape `(n,)`, at least float32.

    Raises:
        ValueError: if there is no global view, there are fewer than two views or two prototypes,
            shapes differ, `queue_scores` does not hold one queue per global view, or an argument
            is out of range.
        TypeError: if scores are not floating-point, or an argument has the wrong type.

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
    temperature = checks.temperature("temperature", temperature)
    coded, views = _check_views(global_scores, local_scores, queue_scores)
    queues = list(queue_scores) or [None] * len(coded)
    codes = [
        sinkhorn_knopp(scores, epsilon, iterations, queue)
        for scores, queue in zip(coded, queues, strict=True)
    ]
    log_predictions = [ops.log_softmax(view / like(temperature, view)) for view in views]
    return cross_view_entropy(codes, log_predictions)


def _check_views(
    global_scores: Any, local_scores: Any, queue_scores: Any
) -> tuple[list[Any], list[Any]]:
    """Return the scores of the global views and those of all views."""
    coded = scores_by_view(global_scores, "global_scores")
    views = coded + scores_by_view(local_scores, "local_scores")
    if not coded or len(views) < 2:
        raise ValueError(
            "SwAV needs at least two views, of which `global_scores` holds at least one. "
            f"Received: {len(coded)} in `global_scores`, {len(views) - len(coded)} in "
            "`local_scores`"
        )
    check_same_shape(views, "`global_scores` and `local_scores`")
    if len(queue_scores) not in (0, len(coded)):
        raise ValueError(
            "`queue_scores` must hold the scores of one queue for each of the "
            f"{len(coded)} global views. Received: {len(queue_scores)}"
        )
    for view, queue in enumerate(queue_scores):
        check_queue_scores(queue, coded[view], f"queue_scores[{view}]")
    return coded, views


@keras.saving.register_keras_serializable(package="keras_ssl")
class SwAVLoss(Float32Loss):
    """Swapped prediction of the codes of views, the loss of SwAV.

    Assigns the embeddings of global views to prototypes, using all prototypes equally, and
    predicts the assignment from each other view. See `keras_ssl.losses.swav` for the formula,
    errors and reference.

    The computation is in float32 under mixed precision. Under a `tf.distribute` strategy codes are
    computed over the batch of all replicas, and the value is divided by the number of replicas, as
    with every Keras loss.

    Args:
        temperature: float above 0, of the predictions, or a schedule, see
            `keras_ssl.losses.NTXent`.
        epsilon: float above 0, of the codes; low values give sharp codes.
        iterations: iterations of Sinkhorn-Knopp, at least 1.
        **kwargs: `reduction`, `name` and `dtype`, as in `keras.losses.Loss`.

    Call arguments:
        global_scores: similarities of embeddings and prototypes for each global view: a list of
            `(batch, prototypes)`, or one tensor `(views, batch, prototypes)`.
        local_scores: the same for local views, which have no codes.
        sample_weight: optional weights of the examples, `(batch,)`.
        queue_scores: optional scores of a queue of earlier embeddings, one tensor
            `(any number, prototypes)` per global view, the same on all replicas.

    Returns:
        The mean over the examples, or their `(batch,)` values with `reduction=None`.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> loss = losses.SwAVLoss(temperature=0.5)
    >>> z = np.eye(3, dtype="float32")
    >>> round(float(loss([z, z])), 3)  # -log(e^2 / (e^2 + 2))
    0.24
    >>> round(float(loss([z], local_scores=[z[::-1]])), 3)
    1.573
    """

    def __init__(
        self,
        temperature: Any = 0.1,
        epsilon: float = 0.05,
        iterations: int = 3,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.temperature = checks.positive_or_schedule("temperature", temperature)
        self.epsilon = checks.positive("epsilon", epsilon)
        self.iterations = checks.integer("iterations", iterations, minimum=1)

    def __call__(
        self,
        global_scores: Any,
        local_scores: Any = (),
        sample_weight: Any = None,
        queue_scores: Any = (),
    ) -> Any:
        """Compute the loss of the views' scores."""
        _check_views(global_scores, local_scores, queue_scores)
        return super().__call__(
            (global_scores, queue_scores), local_scores, sample_weight=sample_weight
        )

    def call(self, inputs: Any, local_scores: Any) -> Any:
        """Return the values of the examples; `inputs` are scores of global views and queues."""
        global_scores, queue_scores = inputs
        settings = (self.value_now("temperature"), self.epsilon, self.iterations)
        return swav(global_scores, local_scores, queue_scores, *settings)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "temperature": serialize(self.temperature),
            "epsilon": self.epsilon,
            "iterations": self.iterations,
        }
