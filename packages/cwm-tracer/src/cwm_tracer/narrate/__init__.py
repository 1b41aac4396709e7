"""Traces told in natural language: by rules that cannot be wrong, or by a checked model."""
