"""Running many independent items."""
