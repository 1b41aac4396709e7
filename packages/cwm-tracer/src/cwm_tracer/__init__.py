"""Python execution traces for code world models."""
