"""Generation: sampling, a continuous batch over a KV cache, and the local engine."""
