"""Data sets without `tf.data`'s autotuning, which can delay the end of an epoch."""

from typing import Any

from keras_ssl._tensorflow import is_dataset


def without_autotuning(data: Any) -> Any:
    """Disable the autotuning of a `tf.data.Dataset` unless its options set it; else return `data`.

    The tuning thread sleeps for 10 ms, then twice as long each time, up to a minute. At the end of
    an epoch, its iterator tells the thread to stop and waits for it. TensorFlow 2.21 notifies it
    before it sets the flag to stop, so a thread that wakes in between goes back to sleep, and the
    epoch lasts until 10, 30, 70, ... 10,230, 20,470, 40,950 ms are over, up to twice its time.
    Without tuning, `tf.data.AUTOTUNE` means TensorFlow's defaults: as many parallel calls as
    threads, and a prefetch buffer that grows while the reader waits.
    """
    if not is_dataset(data) or data.options().autotune.enabled is not None:
        return data
    import tensorflow as tf

    options = tf.data.Options()
    options.autotune.enabled = False
    return data.with_options(options)
