"""Patches of images as tokens, and masks over them."""
