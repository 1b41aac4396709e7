"""From a task to a stored group of trajectories."""
