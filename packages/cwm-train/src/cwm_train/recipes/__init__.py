"""Packaged recipes of training stages."""
