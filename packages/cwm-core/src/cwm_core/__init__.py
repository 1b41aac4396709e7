"""Contracts and vocabulary of the code-world-model stack."""
