"""What features are for: retrieval, search, zero-shot classes, clusters, duplicates, anomalies."""
