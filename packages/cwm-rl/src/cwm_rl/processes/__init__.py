"""The processes of a run, and the supervisor that starts and watches them."""
