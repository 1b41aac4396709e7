"""Inputs for functions: what invents them, and the choice among them by what they reach."""
