"""Tensor functions of graphs that layers, augmentation and trainers share."""
