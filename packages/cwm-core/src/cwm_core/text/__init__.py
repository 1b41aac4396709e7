"""Special tokens and tokenizers."""
