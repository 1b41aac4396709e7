"""Training data: sources of documents, mixers, packing and batches."""
