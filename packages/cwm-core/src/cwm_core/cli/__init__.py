"""The `cwm` command line."""
