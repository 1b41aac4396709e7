"""Model directories in Hugging Face's format, and checkpoints of training runs."""
