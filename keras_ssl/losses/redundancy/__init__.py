"""Losses of the statistics of a batch."""
