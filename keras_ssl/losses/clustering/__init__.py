"""Losses over prototypes."""
