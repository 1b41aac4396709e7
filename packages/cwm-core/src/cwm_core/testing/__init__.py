"""Fixtures and conformance suites for plugin authors."""
