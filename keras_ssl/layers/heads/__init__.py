"""Projectors, predictors and critics."""
