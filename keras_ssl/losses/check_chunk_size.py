"""What every loss in bounded memory asks of its chunk size."""

import numbers


def check_chunk_size(chunk_size: int | None) -> None:
    """Raise unless `chunk_size` is `None` or an integer of at least 1.

    Args:
        chunk_size: rows and columns of similarities held at a time.

    Raises:
        TypeError: if `chunk_size` is neither `None` nor an integer; a bool is none.
        ValueError: if it is below 1.

    Example:

    >>> from keras_ssl.losses.check_chunk_size import check_chunk_size
    >>> check_chunk_size(2048)
    """
    if chunk_size is None:
        return
    if isinstance(chunk_size, bool) or not isinstance(chunk_size, numbers.Integral):
        raise TypeError(
            "`chunk_size` must be an integer or None. "
            f"Received: chunk_size={chunk_size!r} of type {type(chunk_size).__name__}"
        )
    if chunk_size < 1:
        raise ValueError(f"`chunk_size` must be at least 1. Received: chunk_size={chunk_size}")
