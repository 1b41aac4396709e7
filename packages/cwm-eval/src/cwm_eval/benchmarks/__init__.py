"""Benchmarks: tasks, what an engine is asked, and how its answers are scored."""
