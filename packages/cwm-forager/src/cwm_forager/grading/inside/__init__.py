"""Programs that run inside the sandbox, with its interpreter (Python 3.7 or later)."""
