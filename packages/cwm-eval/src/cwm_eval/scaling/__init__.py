"""Test-time scaling: choosing among several answers without knowing the right one."""
