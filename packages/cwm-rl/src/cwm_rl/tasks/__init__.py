"""Which task comes next, and how hard it is made."""
