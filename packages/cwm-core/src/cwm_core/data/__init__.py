"""Parquet shards and the records in them."""
