"""Configuration: hydra compose merges, pydantic validates."""
