"""Layers that remember features of earlier batches."""
