"""``python -m cwm_core``: the same as `cwm`."""

from cwm_core.cli.main import main

main()
