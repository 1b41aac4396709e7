"""Attention backends: one rule of visibility, several ways to compute it."""
