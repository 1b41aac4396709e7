"""Rewards: scores of finished trajectories, from the task that they carry."""
