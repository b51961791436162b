"""Transformers whose weights are shared among devices, on Keras' JAX backend."""

import re
from typing import Any

import keras

# ends of the paths of variables, as `keras.distribution.LayoutMap` takes them
_ATTENTION = r".*/(?:query|key|value)(?:_key|_value)*"
_FEED_FORWARD = r".*/feed_forward[^/]*"
_EMBEDDINGS = r".*/token_embedding/embeddings"
_COLUMNS = (rf"{_ATTENTION}_kernel", rf"{_FEED_FORWARD}/hidden/kernel")
_BIASES = (rf"{_ATTENTION}_bias", rf"{_FEED_FORWARD}/hidden/bias")
_ROWS = (r".*/output_kernel", rf"{_FEED_FORWARD}/outputs/kernel", _EMBEDDINGS)


class TransformerParallel(keras.distribution.ModelParallel):
    r"""Shares the weights of transformers among devices, as Megatron-LM does.

    A `keras.distribution.ModelParallel` with layouts for the layers that all transformers of this
    package are made of: `networks.vit`, `networks.bert`, `networks.gpt2`, the decoder of MAE, and
    teachers and optimizers of them. Of n devices, each holds an n-th of

    - the kernels and biases of queries, keys and values, and of the hidden layer of feed-forward
      networks, split by their columns;
    - the kernels of the two outputs, split by their rows, so that one sum over the devices follows
      each attention and each feed-forward network;
    - the embeddings of tokens, split by tokens or, if n does not divide their number, by features.

    All other weights are on every device. What is computed does not change but for rounding. Splits
    cost least if n divides the number of heads too.

    Set it before the model is made. The batch is split along the other axis of the mesh.

    Args:
        device_mesh: `keras.distribution.DeviceMesh` with an axis for the batch and one for the
            weights, such as `DeviceMesh((2, 4), ("batch", "model"))` for 8 devices.
        layout_map: `keras.distribution.LayoutMap` for further weights, which counts first.
        batch_dim_name: name of the axis along which the batch is split.
        model_dim_name: name of the axis along which weights are split.

    Raises:
        RuntimeError: if Keras' backend is not JAX.
        ValueError: if the mesh lacks one of the axes; where a weight is made, if the devices cannot
            share it equally.

    Example:

    >>> import keras, keras_ssl
    >>> if keras.backend.backend() == "jax":
    ...     devices = keras.distribution.list_devices()
    ...     mesh = keras.distribution.DeviceMesh((1, len(devices)), ("batch", "model"), devices)
    ...     keras.distribution.set_distribution(keras_ssl.distribute.TransformerParallel(mesh))
    ...     encoder = keras_ssl.networks.vit("tiny", (32, 32, 3), 4)
    ...     keras.distribution.set_distribution(None)

    Reference:
        - [Shoeybi et al., Megatron-LM: Training Multi-Billion Parameter Language Models Using Model
          Parallelism](https://arxiv.org/abs/1909.08053)
    """

    def __init__(
        self,
        device_mesh: keras.distribution.DeviceMesh,
        layout_map: keras.distribution.LayoutMap | None = None,
        batch_dim_name: str = "batch",
        model_dim_name: str = "model",
    ):
        backend = keras.backend.backend()
        if backend != "jax":
            raise RuntimeError(
                "`TransformerParallel` needs the JAX backend: set the environment variable "
                "KERAS_BACKEND=jax before Keras is imported. On TensorFlow, `distribute.strategy` "
                f"shares batches among devices. Received: the backend {backend!r}"
            )
        axes = tuple(getattr(device_mesh, "axis_names", ()))
        if batch_dim_name == model_dim_name or not {batch_dim_name, model_dim_name} <= set(axes):
            raise ValueError(
                "`device_mesh` must have an axis for the batch and one for the weights, such as "
                'DeviceMesh((1, 8), ("batch", "model")). Expected the axes '
                f"{batch_dim_name!r} and {model_dim_name!r}. Received: device_mesh={device_mesh}"
            )
        own = keras.distribution.LayoutMap(device_mesh)
        for patterns, layout in (
            (_COLUMNS, (None, model_dim_name)),
            (_BIASES, (model_dim_name,)),
            (_ROWS, (model_dim_name, None)),
        ):
            for pattern in patterns:
                own[pattern] = layout
        super().__init__(layout_map=own, batch_dim_name=batch_dim_name)
        self._further = layout_map
        self._model_dim_name = model_dim_name

    def get_variable_layout(self, variable: keras.Variable) -> keras.distribution.TensorLayout:
        """Return the layout of a variable.

        Args:
            variable: the variable, which need not have a value yet.

        Returns:
            The `keras.distribution.TensorLayout`.
        """
        layout = None if self._further is None else self._further[variable.path]
        if layout is not None:
            return layout
        layout = super().get_variable_layout(variable)
        if self._fits(layout, variable):
            return layout
        if re.fullmatch(_EMBEDDINGS, variable.path):
            by_features = keras.distribution.TensorLayout(
                (None, self._model_dim_name), self.device_mesh
            )
            if self._fits(by_features, variable):
                return by_features
        raise ValueError(
            f"The devices of an axis of the mesh must share `{variable.path}` equally. Choose a "
            f"mesh in which {self._model_dim_name!r} has a divisor of the width of the network, or "
            f"another layout in `layout_map`. Received: shape {tuple(variable.shape)}, split as "
            f"{tuple(layout.axes)} in a mesh of {self._sizes}"
        )

    @property
    def _sizes(self) -> dict[str, int]:
        return dict(zip(self.device_mesh.axis_names, self.device_mesh.shape, strict=True))

    def _fits(self, layout: Any, variable: keras.Variable) -> bool:
        # a variable that was given another layout keeps it
        axes = getattr(layout, "axes", ())
        return all(
            axis is None or size % self._sizes[axis] == 0
            for size, axis in zip(variable.shape, axes, strict=False)
        )
