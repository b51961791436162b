"""The part of the trainers' engine that is written for JAX."""
