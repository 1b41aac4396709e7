"""From a repository's test suite to trace shards."""
