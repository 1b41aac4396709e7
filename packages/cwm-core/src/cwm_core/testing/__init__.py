"""Fixtures and conformance suites for plugin authors.

The fixtures (`shared_data`, `cwm_cli`, `make_plugin`) come with the pytest plugin that
cwm-core registers; `cwm_core.testing.conformance` checks components of every kind.
"""
