"""Losses that compare an example with negatives."""
