"""Judging a patch on the trusted side, from a fresh sandbox."""
