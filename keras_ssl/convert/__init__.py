"""Published weights, to and from the files of other libraries."""

from keras_ssl.convert.hugging_face import (
    from_hugging_face,
    mask_token_from_hugging_face,
    to_hugging_face,
    towers_from_hugging_face,
)

__all__ = [
    "from_hugging_face",
    "mask_token_from_hugging_face",
    "to_hugging_face",
    "towers_from_hugging_face",
]
