"""Trajectories for human eyes: terminal and HTML."""
