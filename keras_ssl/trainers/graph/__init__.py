"""Methods that learn from graphs."""
