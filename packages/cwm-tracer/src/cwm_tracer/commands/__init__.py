"""The subcommands of `cwm trace`, one per file; heavy imports happen in their bodies only."""
