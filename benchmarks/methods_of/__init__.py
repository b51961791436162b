"""The methods of `benchmarks/methods.py`: their settings, and our side of each."""
