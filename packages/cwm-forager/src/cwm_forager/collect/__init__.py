"""Collecting trajectories, and exporting them."""
