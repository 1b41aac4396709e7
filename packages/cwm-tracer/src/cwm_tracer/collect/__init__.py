"""From programs to trace shards."""
