"""Configuration of the engines of cwm-core; light, so that help and validation stay fast."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cwm_core.components import ComponentConfig

if TYPE_CHECKING:
    from cwm_core.engine.openai import OpenAIEngine
    from cwm_core.engine.scripted import ScriptedEngine


class OpenAIConfig(ComponentConfig):
    """An OpenAI-compatible completions server that takes and gives token ids."""

    base_url: str = "http://127.0.0.1:8000/v1"
    """Where the server is, with its version prefix."""
    model: str = ""
    """Model to ask for; empty: the first that the server lists."""
    api_key_env: str = "OPENAI_API_KEY"
    """Environment variable that holds the key, where the server wants one."""
    timeout_s: float = 600.0
    """Seconds until a request counts as failed."""
    retries: int = 5
    """Further tries, with growing pauses, after refused connections, time-outs, 429 and 5xx."""
    score_style: Literal["echo", "prompt_logprobs"] = "echo"
    """How to ask for the log-probabilities of a given sequence; vLLM understands both."""

    def build(self) -> OpenAIEngine:
        """Build the engine; the server is contacted on first use."""
        from cwm_core.engine.openai import OpenAIEngine

        return OpenAIEngine(self)


class ScriptedConfig(ComponentConfig):
    """Replays completions from a file: for gold runs and tests of everything around an engine."""

    path: Path
    """JSON lines: ``{"token_ids": [...], "prompt_ids": [...]}``. A line with `prompt_ids` answers
    that prompt, as often as it is asked; lines without are given out in order."""

    def build(self) -> ScriptedEngine:
        """Build the engine; DataError when the file is missing or malformed."""
        from cwm_core.engine.scripted import ScriptedEngine

        return ScriptedEngine.load(self.path)
