"""Grading: untrusted code runs in a sandbox and returns data, a process apart decides."""
