"""Maps between two spaces of features: from pairs, or from the shapes of the spaces alone."""
