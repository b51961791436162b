"""Batch normalisation over all replicas."""
