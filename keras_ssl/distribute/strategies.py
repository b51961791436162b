"""Distribution strategies by name."""

import os
import random
from typing import Any

import keras

from keras_ssl import checks
from keras_ssl.distribute._cluster import answers, meet, parse_address, read_cluster, watched
from keras_ssl.distribute.workers import from_chief

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

STRATEGIES = ("auto", "one_device", "mirrored", "multi_worker", "tpu")
"""Names that `distribute.strategy` takes."""


def strategy(
    name: str = "auto",
    replicas: int | None = None,
    timeout: float = 300.0,
    seed: int | None = None,
    tpu: str | None = None,
) -> Any:
    """Create a `tf.distribute.Strategy` by name.

    | name | trains on |
    |---|---|
    | `"one_device"` | one GPU if there is one, else the CPU |
    | `"mirrored"` | all GPUs of this machine; without any, the CPU, as `replicas` devices |
    | `"multi_worker"` | the workers in the environment variable `TF_CONFIG`, each with its GPUs |
    | `"tpu"` | a Cloud TPU |
    | `"auto"` | the last of these that is available: several GPUs, a TPU, several workers |

    Create it before TensorFlow does anything else, once per process, and create and compile the
    model under `with strategy.scope():`. Under `"multi_worker"` the workers first wait for each
    other and then start from equal seeds: all must shuffle alike for each example to be seen once
    per epoch.

    Args:
        name: see the table.
        replicas: number of devices that `"mirrored"` uses: the first GPUs, or without GPUs as many
            logical devices of the CPU, to try a run that is meant for several GPUs.
        timeout: seconds that a worker waits for the others.
        seed: passed to `keras.utils.set_random_seed`. `None` leaves the seeds unchanged, except
            under `"multi_worker"`, where all workers get one that the chief draws from Python's
            generator.
        tpu: name or address of the TPU, or `"local"`; `None` uses the environment variable
            `TPU_NAME`, or a TPU of this machine.

    Returns:
        The `tf.distribute.Strategy`; for `"one_device"` TensorFlow's default strategy.

    Raises:
        ValueError: if `name` is unknown, `TF_CONFIG` is missing or malformed, there is no TPU, or
            there are fewer devices than `replicas`.
        RuntimeError: if TensorFlow has run before and cannot be configured any more, or this
            worker cannot listen on its address.
        TimeoutError: names the workers that did not answer within `timeout`.

    Example:

    >>> import keras
    >>> from keras_ssl import distribute
    >>> strategy = distribute.strategy("auto")
    >>> strategy.num_replicas_in_sync
    1
    >>> with strategy.scope():
    ...     model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    """
    checks.tensorflow_backend("Strategies, in whose place `keras.distribution` is on JAX,")
    if name not in STRATEGIES:
        raise ValueError(f"`name` must be one of {STRATEGIES}. Received: name={name!r}")
    replicas = checks.integer("replicas", replicas, minimum=1, optional=True)
    timeout = checks.positive("timeout", timeout)
    if name == "auto":
        name = _best(replicas, tpu)
    if replicas is not None and name != "mirrored":
        raise ValueError(
            f'`replicas` is for the strategy "mirrored" only; "{name}" has as many as there are '
            f"devices. Received: replicas={replicas}"
        )
    if name == "mirrored":
        made = _mirrored(replicas)
    elif name == "multi_worker":
        made = _multi_worker(timeout, seed)
    elif name == "tpu":
        made = _tpu(tpu)
    else:
        made = tf.distribute.get_strategy()
    if seed is not None:
        keras.utils.set_random_seed(seed)
    return made


def _best(replicas: int | None, tpu: str | None) -> str:
    cluster = read_cluster()
    if cluster is not None and len(cluster.names) > 1:
        return "multi_worker"
    if tpu or os.environ.get("TPU_NAME") or tf.config.list_physical_devices("TPU"):
        return "tpu"
    several = len(tf.config.list_physical_devices("GPU")) > 1
    return "mirrored" if several or (replicas or 1) > 1 else "one_device"


def _mirrored(replicas: int | None) -> Any:
    gpus = len(tf.config.list_physical_devices("GPU"))
    if gpus:
        count = gpus if replicas is None else replicas
        if count > gpus:
            raise ValueError(
                f"`replicas` must be at most the number of GPUs, {gpus}. Received: {replicas}"
            )
        return tf.distribute.MirroredStrategy([f"GPU:{i}" for i in range(count)])
    cpu = tf.config.list_physical_devices("CPU")[0]
    present = tf.config.get_logical_device_configuration(cpu) or [None]
    if replicas is not None and replicas > len(present):
        devices = [tf.config.LogicalDeviceConfiguration()] * replicas
        try:
            tf.config.set_logical_device_configuration(cpu, devices)
        except RuntimeError as error:
            raise _too_late("mirrored", f"to split the CPU into {replicas} devices") from error
    count = replicas or len(tf.config.list_logical_devices("CPU"))
    return tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(count)])


def _multi_worker(timeout: float, seed: int | None) -> Any:
    cluster = read_cluster()
    if cluster is None:
        raise ValueError(
            'The strategy "multi_worker" needs the environment variable TF_CONFIG, which names '
            "the workers and which of them this is. On one machine, start the script with `python "
            "-m keras_ssl.distribute.launch --workers 2 script.py`; on a cluster, set it from the "
            f"scheduler's variables. Received: TF_CONFIG={os.environ.get('TF_CONFIG')}"
        )
    meet(cluster, timeout)
    try:
        with watched(cluster, timeout):
            made = tf.distribute.MultiWorkerMirroredStrategy()
    except RuntimeError as error:
        if "program startup" not in str(error):
            raise
        raise _too_late("multi_worker", "to connect to the other workers") from error
    # All workers need equal shuffles, of which each takes its own rows. The chief draws the seed
    # from Python's generator, so that a script which seeds that generator is repeatable.
    keras.utils.set_random_seed(from_chief(random.randrange(2**31) if seed is None else seed, made))
    return made


def _tpu(tpu: str | None) -> Any:
    # on a TPU VM the TPU is a device of this machine
    here = "local" if tf.config.list_physical_devices("TPU") else ""
    name = tpu or os.environ.get("TPU_NAME") or here
    advice = (
        "On a Cloud TPU VM pass `tpu='local'`; elsewhere pass the name or address of the TPU as "
        "`tpu`, or set the environment variable TPU_NAME. Without a TPU, choose another strategy. "
        f"Received: tpu={tpu!r}, TPU_NAME={os.environ.get('TPU_NAME')!r}"
    )
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu=name or None)
        master = resolver.master()
        if master and not answers(parse_address(master.rpartition("/")[2])):
            raise ValueError(f"no answer from {master}")
        if name != "local":
            tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
    except (ValueError, RuntimeError, OSError, tf.errors.OpError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(f"No TPU can be reached ({reason}). {advice}") from error
    return tf.distribute.TPUStrategy(resolver)


def _too_late(name: str, purpose: str) -> RuntimeError:
    return RuntimeError(
        f"It is too late {purpose}: TensorFlow is already initialised. Call `distribute.strategy"
        f'("{name}")` first, before creating models, tensors and datasets or listing devices'
    )
