"""The chat and tool vocabulary and its wire format."""
