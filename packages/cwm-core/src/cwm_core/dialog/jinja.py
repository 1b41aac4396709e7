"""The chat format as a Jinja template, for `transformers` and inference servers."""

CHAT_TEMPLATE = ""
