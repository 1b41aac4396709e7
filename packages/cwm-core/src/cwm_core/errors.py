"""Errors that a user can cause: a message (what and where) and a hint (how to fix it)."""

from __future__ import annotations


class CwmError(Exception):
    """Base of every error that the command line shows without a traceback (exit code 2)."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  hint: {self.hint}" if self.hint else self.message


class ConfigError(CwmError):
    """A configuration key or value is wrong."""


class PluginError(CwmError):
    """A plugin or component is missing, broken or ambiguous."""


class DataError(CwmError):
    """A file or record is missing, damaged or of the wrong shape."""


class ContextLengthError(DataError):
    """A sequence is longer than a model's context."""


class CodecError(CwmError):
    """Text or token ids do not follow a wire format.

    ``offset`` counts characters (text) or tokens (ids) from the start; ``expected`` names what
    the grammar allows there.
    """

    def __init__(
        self, message: str, *, offset: int, expected: str, hint: str | None = None
    ) -> None:
        super().__init__(f"{message} at offset {offset}: expected {expected}", hint)
        self.offset = offset
        self.expected = expected


class RunError(CwmError):
    """A run directory, stage or job cannot go on."""
