"""Environments to train in: questions in the chat format, with tools where wanted."""
