"""TensorFlow engine of the trainers: `fit` under strategies, gradients, resuming."""
