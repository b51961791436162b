"""Compile every trainer's steps with the compiler of a TPU, without a TPU.

`tests/tpu/obstacles.py` checks what TensorFlow's compiler accepts. This script uses the TPU's own
compiler, `libtpu`, which does not need a TPU. It runs in another Python environment than
TensorFlow, with JAX and the libtpu that belongs to it (`pip install "jax[tpu]"`):

    KERAS_SSL_TPU_PYTHON=tpu-env/bin/python PYTHONPATH=. python scripts/compile_for_tpu.py

The steps are those of the trainers' contract, `tests/trainers/cases.py`, and of a SimCLR of
realistic size. TensorFlow translates each step to HLO, and one process per step compiles it for one
core of `TOPOLOGY`. No step is run. On a TPU, TensorFlow uses its own version of libtpu.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TOPOLOGY = "v5e:2x2"
# keeps libtpu from looking for a TPU and from querying Google's cloud
NO_TPU = {
    "JAX_PLATFORMS": "cpu",
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "TPU_CHIPS_PER_HOST_BOUNDS": "2,2,1",
    "TPU_HOST_BOUNDS": "1,1,1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_WORKER_ID": "0",
}


def make_trainers():
    """Yield a name, a compiled trainer and a batch, one after the other."""
    import keras
    import numpy as np

    import keras_ssl
    from tests.trainers.cases import CASES

    for name, case in CASES.items():
        trainer = case.make()
        trainer.compile(optimizer=case.optimizer())
        yield name, trainer, case.x()[:32]
        if trainer.updates()[0].embed is not None:
            trainer = case.make()
            trainer.compile(optimizer=case.optimizer(), micro_batch_size=8)
            yield f"{name}, micro-batches", trainer, case.x()[:32]
    keras.config.set_dtype_policy("mixed_bfloat16")
    trainer = keras_ssl.trainers.SimCLR(
        keras_ssl.networks.resnet50((224, 224, 3), stem=keras_ssl.networks.imagenet_stem),
        augment=keras_ssl.augment.SimCLRViews(224),
    )
    trainer.compile(keras_ssl.optimizers.LARS(0.3, weight_decay=1e-6))
    yield (
        "SimCLR, ResNet-50, 64 x 224 x 224, bfloat16",
        trainer,
        np.zeros((64, 224, 224, 3), "uint8"),
    )


def translate(step, batch) -> bytes:
    """Return a step as a serialised HLO module."""
    import tensorflow as tf
    from tensorflow.compiler.xla.service import hlo_pb2

    compiled = tf.function(step, autograph=False, jit_compile=True)
    program = compiled.experimental_get_compiler_ir(tf.constant(batch))(stage="hlo_serialized")
    module = hlo_pb2.HloModuleProto.FromString(program)
    for computation in module.computations:
        for instruction in computation.instructions:
            if instruction.opcode == "copy":  # StableHLO has none; a reshape to the same shape is
                instruction.opcode = "reshape"
    return module.SerializeToString()


def compile_program(file: str) -> None:
    """Compile one module for the TPU, in a Python with JAX and libtpu; print its memory."""
    import numpy as np
    from jax._src import compiler
    from jax._src.interpreters import mlir
    from jax._src.lib import _jax
    from jax._src.lib.mlir import ir
    from jax.experimental import topologies
    from jaxlib.xla_client import DeviceList

    device = topologies.get_topology_desc(platform="tpu", topology_name=TOPOLOGY).devices[0]
    options = compiler.get_compile_options(
        num_replicas=1, num_partitions=1, device_assignment=np.zeros((1, 1), int)
    )
    with mlir.make_ir_context():
        module = ir.Module.parse(_jax.mlir.hlo_to_stablehlo(Path(file).read_bytes()))
    started = time.perf_counter()
    executable = device.client.compile(module, DeviceList((device,)), options)
    memory = executable.get_compiled_memory_stats()
    mib = (memory.temp_size_in_bytes + memory.argument_size_in_bytes) / 2**20
    print(f"compiled in {time.perf_counter() - started:.0f} s, {mib:.0f} MiB on the device")


def main() -> int:
    """Compile all steps; return the number of failures."""
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "step.pb"
        for name, trainer, batch in make_trainers():
            from tests.tpu.obstacles import tpu_obstacles

            for obstacle in tpu_obstacles(trainer, batch):
                print(obstacle)
            for step in (trainer.train_step, trainer.test_step):
                file.write_bytes(translate(step, batch))
                run = subprocess.run(
                    [os.environ["KERAS_SSL_TPU_PYTHON"], __file__, str(file)],
                    env={**os.environ, **NO_TPU},
                    capture_output=True,
                    text=True,
                )
                failed += run.returncode != 0
                result = (
                    run.stdout.strip() if run.returncode == 0 else f"FAILED\n{run.stderr[-1500:]}"
                )
                print(f"{name}, {step.__name__}: {result}", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(compile_program(sys.argv[1]) if len(sys.argv) > 1 else main())
