"""ForagerAgent: tools, prompts and the agents that use them."""
