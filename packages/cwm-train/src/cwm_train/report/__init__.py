"""Pages and tables about training runs."""
