"""Configuration of the agents; light, so that help and validation stay fast."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from cwm_core.components import ComponentConfig

if TYPE_CHECKING:
    from cwm_core.env.environment import Agent


class Llm(ComponentConfig):
    """A language model behind an engine, in CWM's own format, with exact token ids."""

    max_tokens: int = Field(65_536, ge=1)
    """Tokens per action."""
    context_tokens: int = Field(131_072, ge=2)
    """Tokens of the model's context; actions are shortened to fit."""
    temperature: float = Field(1.0, ge=0)
    """0 is greedy."""
    top_p: float = Field(0.95, gt=0, le=1)
    """Nucleus of the distribution that is sampled from."""
    seed: int | None = None
    """Seed of the first action; later ones count on from it."""
    tokenizer: Path | None = None
    """Directory with the model's tokenizer, for its stop tokens; null: the engine's own, or the
    ids of the released CWM."""

    def build(self, engine: Any) -> Agent:
        """Build the agent; ConfigError without an engine."""
        from cwm_forager.agent.llm import LlmAgent

        return LlmAgent(self, engine)


class Chat(ComponentConfig):
    """Any model behind an OpenAI-compatible chat server, with tools as OpenAI functions."""

    base_url: str = "http://127.0.0.1:8000/v1"
    """Where the server is, with its version prefix."""
    model: str = ""
    """Model to ask for; empty: the first that the server lists."""
    api_key_env: str = "OPENAI_API_KEY"
    """Environment variable that holds the key, where the server wants one."""
    max_tokens: int = Field(8192, ge=1)
    """Tokens per action."""
    temperature: float = Field(1.0, ge=0)
    """0 is greedy."""
    timeout_s: float = Field(600.0, gt=0)
    """Seconds until a request counts as failed."""
    retries: int = Field(5, ge=0)
    """Further tries, with growing pauses, after refused connections, time-outs, 429 and 5xx."""

    def build(self, engine: Any = None) -> Agent:
        """Build the agent; it has its own connection and needs no engine."""
        from cwm_forager.agent.chat import ChatAgent

        return ChatAgent(self)


class Oracle(ComponentConfig):
    """Applies the gold patch and submits it: what every sound task rewards."""

    def build(self, engine: Any = None) -> Agent:
        """Build the agent."""
        from cwm_forager.agent.fixed import OracleAgent

        return OracleAgent()


class NoOp(ComponentConfig):
    """Changes nothing and submits that: what no sound task rewards."""

    def build(self, engine: Any = None) -> Agent:
        """Build the agent."""
        from cwm_forager.agent.fixed import NoOpAgent

        return NoOpAgent()


class Scripted(ComponentConfig):
    """Plays given turns, then repeats the last one."""

    turns: tuple[str, ...] = Field(min_length=1)
    """Texts of its actions, in order. ``{id}``, ``{root}`` and ``{gold_patch}`` of the instance
    are filled in."""

    def build(self, engine: Any = None) -> Agent:
        """Build the agent."""
        from cwm_forager.agent.fixed import ScriptedAgent

        return ScriptedAgent(self.turns)


class Cheater(ComponentConfig):
    """Tries to be rewarded without a repair, by one trick: what no sound grader rewards."""

    trick: str
    """Name of the trick (see `cwm_forager.agent.tricks.TRICKS`)."""

    def build(self, engine: Any = None) -> Agent:
        """Build the agent; ConfigError for an unknown trick."""
        from cwm_forager.agent.tricks import CheatingAgent

        return CheatingAgent(self.trick)
