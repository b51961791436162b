"""VICRegL: VICReg of views, and of the positions of their maps that belong together."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_ssl import augment as augmentation
from keras_ssl import losses
from keras_ssl.layers import ProjectionHead
from keras_ssl.trainers._layer_outputs import LayerOutputs, positions_of
from keras_ssl.trainers.checks import check_crops, check_type, describe
from keras_ssl.trainers.image_spec import ImageSpec, maps_of
from keras_ssl.trainers.parts import serialize_parts
from keras_ssl.trainers.redundancy.vicreg import VICReg
from keras_ssl.trainers.step import Batch


@keras.saving.register_keras_serializable(package="keras_ssl")
class VICRegL(VICReg):
    r"""VICRegL: VICReg of global and of local features.

    Beside VICReg's loss of the views, two losses of positions: a second projector embeds each
    position of the encoder's feature map. Positions of two views are matched twice, with the one
    whose embedding is nearest, and with the one that lies nearest in the image; the best matches of
    both kinds get VICReg's loss too:

        L = α L_global + (1 - α) (L_features + L_places)

    Views are crops, of which it is known what part of the image they show. Two of them are global;
    any number of smaller local ones may follow. Each global view is compared with all others.
    Statistics are those of the batch of all replicas. The views go through the networks one at a
    time, as in the published code. Both projectors are discarded after training.

    Args:
        encoder: functional or sequential `keras.Model` that maps a batch of views of any of the
            sizes to `(batch, features)`.
        map_layer: name of the layer of the encoder whose output is the map, `(batch, rows, columns,
            channels)`, such as `"stage4_block2_output"` of `keras_ssl.networks.resnet18`.
        projector: layer that maps features to embeddings. `None` means
            `keras_ssl.layers.ProjectionHead((8192, 8192, 8192), use_bias=False)`.
        local_projector: layer that maps `(batch, positions, channels)` to `(batch, positions,
            dim)`. `None` means `keras_ssl.layers.ProjectionHead((512, 512, 512), use_bias=False)`.
        augment: layer that makes views with their boxes, global ones first:
            `keras_ssl.augment.LocatedViews`. `None` if the data already holds such views: a tuple
            of dictionaries with "image" and "box".
        loss: loss called `loss(views, maps, places)`. `None` means
            `keras_ssl.losses.VICRegLLoss()`, with the paper's weights. The weighted terms of a
            `VICRegLLoss` are reported as the losses "global", "features" and "places", any other
            loss as "regularization".
        **kwargs: `name`, `dtype` of the model.

    Call arguments:
        x: a batch of what the encoder takes.
        training: whether the encoder runs in training mode.

    Input shape:
        What the encoder takes.

    Output shape:
        `(batch, features)`, the output of the encoder.

    Raises:
        TypeError: if a part is not a Keras object.
        ValueError: if the encoder has no layer `map_layer`; before the first step, if the layer
            does not return a map, views have no boxes, there are fewer than two views or than the
            loss has global ones, a local view is larger, the encoder does not take all sizes, or a
            batch holds a single example.

    Example:

    >>> import keras_ssl
    >>> images, _ = next(iter(keras_ssl.data.load_images("fashion_mnist_mini", "train").batch(16)))
    >>> trainer = keras_ssl.trainers.VICRegL(
    ...     encoder=keras_ssl.networks.small_resnet((28, 28, 1), width=8),
    ...     map_layer="stage3_block1_output",
    ...     projector=keras_ssl.layers.ProjectionHead((64, 64), use_bias=False),
    ...     local_projector=keras_ssl.layers.ProjectionHead((32, 32), use_bias=False),
    ...     augment=keras_ssl.augment.LocatedViews(keras_ssl.augment.SimCLRViews(28)),
    ... )
    >>> trainer.compile(optimizer="adam")
    >>> history = trainer.fit(images, batch_size=8, verbose=0)
    >>> sorted(history.history)
    ['features', 'global', 'loss', 'places']

    Reference:
        - [VICRegL: Self-Supervised Learning of Local Visual Features](
          https://arxiv.org/abs/2210.01571), Bardes et al., 2022
    """

    loss_class = losses.VICRegLLoss

    def __init__(
        self,
        encoder: keras.Model,
        map_layer: str,
        projector: keras.layers.Layer | None = None,
        local_projector: keras.layers.Layer | None = None,
        augment: keras.layers.Layer | None = None,
        loss: keras.losses.Loss | None = None,
        **kwargs: Any,
    ):
        check_type("encoder", encoder, keras.Model)
        super().__init__(encoder, projector, augment, loss, **kwargs)
        if local_projector is None:
            local_projector = ProjectionHead((512, 512, 512), use_bias=False)
        check_type("local_projector", local_projector, keras.layers.Layer)
        self.local_projector = local_projector
        self.map_layer = map_layer
        self.global_count = getattr(self.loss_function, "global_count", 2)
        self._outputs = LayerOutputs("encoder", encoder, [map_layer])

    def check_views(self, views: Any) -> None:
        """Raise unless there are global views, then local ones that are no larger, with boxes."""
        for view in views if isinstance(views, (tuple, list)) else [None]:
            if not isinstance(view, dict) or set(view) != {"image", "box"}:
                raise ValueError(
                    'Expected a tuple of views, each a dictionary of an "image" and its "box", as '
                    "`augment=keras_ssl.augment.LocatedViews(...)` makes them. "
                    f"Received: {describe(views)}"
                )
            if len(view["box"].shape) != 2 or view["box"].shape[1] != 4:
                raise ValueError(
                    'Each "box" must have shape (batch, 4): top, left, bottom and right of a view '
                    f"in its image. Received: {describe(views)}"
                )
        takes = getattr(self.encoder, "input_shape", None)
        check_crops([view["image"] for view in views], self.global_count, takes)

    def to_encode(self, x: Any) -> Any:
        """Return the image of a view that has a box."""
        return x["image"] if isinstance(x, dict) and "image" in x else x

    def embed(self, batch: Batch, training: bool) -> dict[str, Any]:
        """Return the embeddings of views and positions, and the representation of the first."""
        h, z, local = [], [], {}
        for number, view in enumerate(batch.views):
            features, by_layer = self._outputs(view["image"], training=training)
            maps = by_layer[self.map_layer]
            positions = positions_of(maps, self.map_layer)
            h.append(features)
            z.append(self.projector(features, training=training))
            # views may differ in size, so they are not stacked
            local[f"map_{number}"] = self.local_projector(positions, training=training)
            local[f"places_{number}"] = self._centers(view["box"], maps)
        # one row per example: (batch, views, dim)
        return {"z": ops.stack(z, axis=1), **local, "representation": h[0]}

    def losses_of(self, embeddings: dict[str, Any], training: bool) -> dict[str, Any]:
        """Return the weighted terms of the loss."""
        views = ops.unstack(embeddings["z"], axis=1)
        maps, places = (
            [embeddings[f"{name}_{number}"] for number in range(len(views))]
            for name in ("map", "places")
        )
        return self._terms_of(views, maps, places)

    def _centers(self, box: Any, maps: Any) -> Any:
        """Return where in the image the positions of a view's map lie, `(batch, positions, 2)`."""
        if len(maps.shape) != 4:
            raise ValueError(
                "`map_layer` must name a layer that returns maps of images, (batch, rows, columns, "
                f"channels). Received: {self.map_layer!r}, which returns shape {tuple(maps.shape)}"
            )
        # not `box[:, axis, None]`: TensorFlow's optimizer of graphs would drop the new axis
        edges = ops.split(ops.cast(box, "float32"), 4, axis=1)
        axes = []
        for start, end, count in zip(edges[:2], edges[2:], maps.shape[1:3], strict=True):
            shares = (np.arange(count, dtype="float32") + 0.5) / count
            axes.append(start + (end - start) * shares)
        rows, columns = axes
        grid = ops.stack(
            [
                ops.repeat(rows, maps.shape[2], axis=1),
                ops.tile(columns, (1, maps.shape[1])),
            ],
            axis=-1,
        )
        return ops.stop_gradient(grid)

    @classmethod
    def map_layer_for(cls, images: ImageSpec) -> str:
        """Return the layer of a trainer that is made by its name: the last with feature maps."""
        return maps_of(images.part("encoder")).name

    @classmethod
    def augment_for(cls, images: ImageSpec) -> keras.layers.Layer:
        """Return the views of a trainer that is made by its name, with their boxes."""
        return augmentation.LocatedViews(augmentation.SimCLRViews(images.size))

    def get_config(self) -> dict:
        """Return the constructor's arguments, the parts serialised."""
        parts = serialize_parts(local_projector=self.local_projector)
        return {**super().get_config(), **parts, "map_layer": self.map_layer}
