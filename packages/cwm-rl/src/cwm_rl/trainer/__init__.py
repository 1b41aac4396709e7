"""The process that learns from stored groups."""
