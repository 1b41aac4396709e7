"""The execution vocabulary and its wire format."""
