"""The Debug Adapter Protocol: what editors speak to a debugger."""
