"""`fit` on TensorFlow: strategies, epochs, resuming."""
