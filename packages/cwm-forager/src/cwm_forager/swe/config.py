"""Configuration of the environment `swe`; light, so that help and validation stay fast."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from cwm_core.components import ComponentConfig
from cwm_core.config import Slot

if TYPE_CHECKING:
    from cwm_core.text.tokenizer import Tokenizer
    from cwm_forager.swe.environment import SweEnvironment


class SweConfig(ComponentConfig):
    """Repair repositories with tools in a sandbox; judged by tests in another one."""

    tasks: Path
    """JSON lines of instances, as `cwm forage tasks` writes them."""
    sandbox: Annotated[ComponentConfig, Slot("sandboxes", default="local")]
    """Where agents work and patches are judged; one with images takes each instance's own."""
    goal: Literal["repair", "reproduce"] = "repair"
    """`repair`: submit a patch. `reproduce`: submit a script that shows the fault."""
    split: str = "train"
    """Split that the tasks belong to."""
    turns: int = Field(128, ge=1)
    """Actions per episode."""
    context_tokens: int = Field(131_072, ge=256)
    """Tokens of an episode together."""
    prompt_tokens: int = Field(8192, ge=64)
    """Tokens of the user's message; the front of a longer one is cut off."""
    action_tokens: int = Field(65_536, ge=1)
    """Tokens per action; a longer one ends the episode."""
    observation_tokens: int = Field(32_768, ge=64)
    """Tokens per observation; the end of a longer one is cut off."""
    command_timeout_s: float = Field(120.0, gt=0)
    """Seconds per command."""
    episode_timeout_s: float | None = Field(None, gt=0)
    """Seconds from the first action on, after which an episode ends; null: any."""
    plugins: bool = True
    """Offer `edit` and `create` besides `bash` and `submit`."""
    view: bool = True
    """Offer `view`, too, where plugins are on."""
    format_errors: Literal["fatal", "answered"] = "fatal"
    """What a turn does that is not as asked: end the episode, or be told so."""
    thinking: Literal["off", "tag", "token"] = "off"
    """Whether actions begin with reasoning, and how it is marked; then each needs exactly one end
    of it."""
    markdown_answer: bool = False
    """Whether a final answer needs a ``##`` heading, as CWM's strict format has it."""
    show_tests: bool = False
    """Show the changes to tests that judge a repair."""
    show_hints: bool = False
    """Show the instance's hints."""
    reward: Literal["plus_minus_one", "similarities"] = "plus_minus_one"
    """`similarities`: -1 + s for a repair; else -1 + t s where the patch's mean similarity to the
    oracle's over its files is at least t; else -1."""
    reward_scale: float = Field(1.0, gt=0)
    """s of `similarities`; 2 gives the paper's ``similarities_2``."""
    similarity_threshold: float | None = Field(None, ge=0, le=1)
    """t of `similarities`; null: only repairs count."""
    grade_unfinished: bool = False
    """Judge what was submitted in an episode that ended without a final answer, too, for its label;
    its reward stays -1."""

    def build(self, tokenizer: Tokenizer | None = None) -> SweEnvironment:
        """Build the environment; without a tokenizer it shows text and estimates token counts."""
        from cwm_forager.swe.environment import SweEnvironment

        return SweEnvironment(self, tokenizer)
