"""Reinforcement learning for code world models."""
