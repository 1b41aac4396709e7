"""What the tests of all packages share."""

from hypothesis import settings

# Tests never measure time, and the same run finds the same things.
settings.register_profile("cwm", deadline=None, derandomize=True)
settings.load_profile("cwm")
