"""The environment `swe`: repair a repository, or write a script that shows its fault."""
