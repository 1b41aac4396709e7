"""Software-engineering experience for code world models."""
