"""Executable repository images: a repository at a commit, with everything that its tests need."""
