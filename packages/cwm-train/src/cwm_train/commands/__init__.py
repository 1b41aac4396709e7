"""The subcommands of `cwm` that this package adds."""
