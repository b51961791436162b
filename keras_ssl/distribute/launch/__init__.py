"""Launcher of several worker processes on this machine, which restarts them when one dies.

    python -m keras_ssl.distribute.launch --workers 2 --restarts 3 train.py --epochs 100

Every worker runs `train.py --epochs 100` with its own `TF_CONFIG`, the environment variable that
`tf.distribute.MultiWorkerMirroredStrategy` reads. The output of the workers is printed line by
line with the prefix `[worker 0] `. When a worker fails or is killed, the others are stopped and, up
to `--restarts` times, all are started again with the same command; the script must resume from its
last backup itself. On a cluster, the scheduler starts the workers instead of this launcher.

The exit code is 0 if all workers end with 0, else that of the first worker to fail: 128 plus the
number of the signal if a signal killed it. Needs Linux or macOS.
"""
