"""Train with several worker processes on this machine, and start them again when one dies.

    python -m keras_ssl.distribute.launch --workers 2 --restarts 3 train.py --epochs 100

Every worker runs `train.py --epochs 100` with a `TF_CONFIG` of its own, which is what
`tf.distribute.MultiWorkerMirroredStrategy` reads. What a worker prints comes out here, line by
line, after `[worker 0] `. When a worker fails or is killed, the others are stopped and, up to
`--restarts` times, all are started again with the same command; the script must go on from its
last backup by itself. On a cluster the scheduler starts the workers and this launcher has no part.

The exit code is 0 when all workers end with 0, else that of the first worker to fail: 128 plus the
number of the signal where a signal killed it. Needs Linux or macOS.
"""
