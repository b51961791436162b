"""Graph convolutions."""
