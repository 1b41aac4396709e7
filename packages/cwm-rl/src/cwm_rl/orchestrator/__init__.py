"""The process that plays episodes, and the one that watches all processes."""
