"""Losses that compare a prediction with its target."""
