"""The debugger on the terminal."""
