"""Keep `tf.data` from waiting at the end of an epoch for its own tuning."""

from typing import Any


def without_autotuning(data: Any) -> Any:
    """The same data, without the thread that tunes its pipeline; what the user set is kept.

    That thread wakes up after 10 ms, then after twice as long each time, up to a minute. When an
    epoch ends, its iterator tells the thread to stop and waits for it; but TensorFlow (2.21) rings
    before it has written down why, and a thread that is awake too soon sees nothing and goes back
    to sleep. The epoch then lasts until 10, 30, 70, ... 10,230, 20,470, 40,950 ms are over, up to
    twice its time. A pipeline without tuning takes TensorFlow's defaults for what it leaves to
    `tf.data.AUTOTUNE`: as many parallel calls as there are threads, and a buffer of batches that
    grows while reading waits for it.

    Args:
        data: a `tf.data.Dataset`; anything else is returned as it is.

    Returns:
        The dataset with `options.autotune.enabled = False`, unless its options say otherwise.

    Example:

    >>> import tensorflow as tf
    >>> from keras_ssl.data.autotuning import without_autotuning
    >>> without_autotuning(tf.data.Dataset.range(9)).options().autotune.enabled
    False
    """
    import tensorflow as tf

    if not isinstance(data, tf.data.Dataset) or data.options().autotune.enabled is not None:
        return data
    options = tf.data.Options()
    options.autotune.enabled = False
    return data.with_options(options)
