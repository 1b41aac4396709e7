"""The mathematics of reinforcement learning: pure functions."""
