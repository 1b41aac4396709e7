"""Sources of programs to trace: a generator, benchmark files, and the split of both."""

from cwm_tracer.programs.program import Program, constructs_of

__all__ = ["Program", "constructs_of"]
