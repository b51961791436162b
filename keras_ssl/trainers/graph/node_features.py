"""What methods on graphs ask of an encoder."""

from typing import Any


def check_node_features(features: Any, x: Any) -> None:
    """Raise unless an encoder gives a vector a node.

    Args:
        features: what the encoder gave.
        x: features of the nodes that it was given.

    Raises:
        ValueError: if the shapes are not those of the same nodes.
    """
    shape, nodes = tuple(getattr(features, "shape", ())), tuple(x.shape[:-1])
    fits = len(shape) == len(nodes) + 1 and all(
        None in pair or pair[0] == pair[1] for pair in zip(shape, nodes, strict=False)
    )
    if not fits:
        raise ValueError(
            "`encoder` must give a vector a node, of shape (nodes, channels) or (batch, nodes, "
            "channels), without pooling. Received: features of shape "
            f"{shape} for nodes of shape {tuple(x.shape)}"
        )
