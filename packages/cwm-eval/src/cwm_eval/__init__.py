"""Evaluation of code world models."""
