"""Sources of programs to trace: a generator, benchmark files, and the split of both."""
