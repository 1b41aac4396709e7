"""One HTML page that shows a trace and moves through its time."""
