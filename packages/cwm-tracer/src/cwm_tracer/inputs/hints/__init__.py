"""Inputs from types: annotations, or what the body of a function says about its parameters."""
