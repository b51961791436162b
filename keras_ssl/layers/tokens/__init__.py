"""Patches and other tokens, and masks over them."""

from keras_ssl.layers.tokens.mask_token import MaskToken
from keras_ssl.layers.tokens.masked_context import MaskedContext
from keras_ssl.layers.tokens.patch_grid import PatchGrid

__all__ = ["MaskToken", "MaskedContext", "PatchGrid"]
