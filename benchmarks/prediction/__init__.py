"""What training at a size that is not at hand would move, hold and take, by formula.

Nothing in here measures anything: `benchmarks/scaling.py` prints the predictions, and
`benchmarks/worker_traffic.py` holds the traffic that they rest on against counted bytes.
"""
