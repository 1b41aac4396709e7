"""Tasks, environments, trajectories, rewards."""
