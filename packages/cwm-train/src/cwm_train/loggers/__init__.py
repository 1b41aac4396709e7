"""Metric loggers besides metrics.jsonl."""
