"""Functions of tensors that several folders use."""
