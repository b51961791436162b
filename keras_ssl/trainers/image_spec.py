"""What is known of the images that a trainer is made for by its name."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras

from keras_ssl import augment, networks
from keras_ssl.trainers.data_spec import no_part


@dataclass(frozen=True)
class ImageSpec:
    """Images, and the constructor's arguments that a trainer has been given for them.

    A trainer that is made by its name, as on the command line, gets the arguments that nobody has
    given from class methods of its own: `<argument>_for(images)`, such as `augment_for`, called
    with one of these. They take precedence over the default of the constructor.

    Args:
        size: height and width of the images in pixels.
        channels: number of their channels.
        count: number of images.
        part: function from the name of an argument of the constructor to its value.
        network: function called as `network(input_shape, **arguments)`, which returns the encoder
            that was asked for, or `None` for the one that suits the method.

    Example:

    >>> from keras_ssl import trainers
    >>> images = trainers.ImageSpec(size=32, channels=3, count=100)
    >>> trainers.SimCLR.encoder_for(images).input_shape
    (None, 32, 32, 3)
    >>> trainers.SimCLR.augment_for(images).count
    2
    """

    size: int
    channels: int
    count: int
    part: Callable[[str], Any] = no_part
    network: Callable[..., keras.layers.Layer] | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """`(height, width, channels)`."""
        return self.size, self.size, self.channels

    @property
    def patch_size(self) -> int:
        """Side of square patches that divide the images: at most 16, and 7 or more in a row.

        Raises:
            ValueError: if there is none.
        """
        sides = [n for n in range(2, 17) if self.size % n == 0 and self.size // n >= 7]
        if not sides:
            raise ValueError(
                "Images must be divisible into 7x7 or more patches of 2x2 to 16x16 pixels, such as "
                f"images of 32x32 or 64x64. Received: images of {self.size}x{self.size}"
            )
        return max(sides)

    def encoder(
        self, size: int | str | None = "whole", channels: int | None = None
    ) -> keras.layers.Layer:
        """Return the encoder that was asked for, else a small residual network.

        Args:
            size: height and width of what it takes, `None` for any, `"whole"` for those of the
                images.
            channels: number of channels; that of the images by default.
        """
        size = self.size if size == "whole" else size
        shape = (size, size, self.channels if channels is None else channels)
        return (self.network or networks.small_resnet)(shape)

    def token_encoder(self, **arguments: Any) -> keras.layers.Layer:
        """Return the encoder that was asked for, else a small vision transformer.

        Args:
            **arguments: of `networks.vit`, that the method needs.
        """
        if self.network is not None:
            return self.network(self.shape, **arguments)
        return networks.vit("tiny", self.shape, self.patch_size, **arguments)

    def feature_maps(self, channels: int | None = None) -> keras.Model:
        """Return the encoder that was asked for, or a small residual network, without its pooling.

        Args:
            channels: number of channels that it takes; that of the images by default.
        """
        whole = self.encoder(channels=channels)
        return keras.Model(whole.inputs, maps_of(whole).output, name=whole.name)

    def features(self) -> int:
        """Return how many features the encoder `part("encoder")` has."""
        return self.part("encoder").compute_output_shape((None, *self.shape))[-1]

    def crop(self) -> keras.layers.Layer:
        """Return one random view of images of their size: a crop and a flip."""
        cut = augment.RandomResizedCrop(self.size, scale=(0.2, 1.0))
        return augment.Pipeline([cut, augment.RandomHorizontalFlip()])


def maps_of(encoder: keras.layers.Layer) -> keras.layers.Layer:
    """Return the last layer of a functional or sequential network that returns feature maps."""
    for layer in reversed(getattr(encoder, "layers", [])):
        output = getattr(layer, "output", None)
        if output is not None and len(getattr(output, "shape", ())) == 4:
            return layer
    raise ValueError(
        "`encoder` must be a network of layers that return feature maps, (batch, rows, columns, "
        f"channels), such as `networks.resnet18`. Received: encoder={encoder}"
    )
