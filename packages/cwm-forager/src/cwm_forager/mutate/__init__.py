"""Bugs on purpose: operators, their choice, and what tests say about the result."""
