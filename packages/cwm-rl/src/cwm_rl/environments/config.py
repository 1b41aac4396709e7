"""Configuration of the environments; light, so that help and validation stay fast."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from cwm_core.components import ComponentConfig
from cwm_core.config import Slot

if TYPE_CHECKING:
    from cwm_core.text.tokenizer import Tokenizer
    from cwm_rl.environments.lookup import LookupEnvironment
    from cwm_rl.environments.questions import QuestionsEnvironment


class LookupConfig(ComponentConfig):
    """Find out a hidden value with a tool, then say it: a small task of two turns.

    What is asked for is different in every task and stands nowhere in the prompt, so that an answer
    without the tool is a guess. The splits have different tasks.
    """

    tasks: int = Field(1000, gt=0)
    """Tasks per split."""
    keys: int = Field(20, ge=2)
    """Names that can be asked for."""
    values: int = Field(100, ge=2)
    """Numbers that can be the answer."""
    seed: int = 0
    """Draws the tasks."""
    thinking: bool = False
    """Open the assistant's reasoning in the prompt."""

    def build(self, tokenizer: Tokenizer | None = None) -> LookupEnvironment:
        """Build the environment."""
        from cwm_rl.environments.lookup import LookupEnvironment

        return LookupEnvironment(self, tokenizer)


class QuestionsConfig(ComponentConfig):
    """Questions from a file, in the chat format: code to write, mathematics, anything rewarded.

    The answer is graded by rewards (`unit_tests`, `math_answer`, `exact_match`, ...), which find
    what they need in the row. With `python_calls`, answers may call the tool ``python`` before.
    """

    data: Path
    """JSON lines, also gzipped: an object per task."""
    prompt: str = "prompt"
    """Key of the question."""
    id: str = "id"
    """Key of the task's name; its line's number where there is none."""
    hint: str = "hint"
    """Key of a hint, shown when a curriculum says so."""
    system: str = ""
    """System prompt."""
    instructions: str = ""
    """Text after each question, such as how to mark the answer."""
    thinking: bool = True
    """Open the assistant's reasoning in the prompt."""
    validation: float = Field(0.05, ge=0, lt=1)
    """Share of the tasks that make the split ``validation``, drawn by their names."""
    test: float = Field(0.0, ge=0, lt=1)
    """Share of the tasks that make the split ``test``."""
    python_calls: int = Field(0, ge=0)
    """Calls of the tool ``python`` per episode; CWM allows 4 in mathematics."""
    python_s: float = Field(10.0, gt=0)
    """Seconds per call."""
    sandbox: Annotated[ComponentConfig, Slot("sandboxes", default="local")]
    """Where calls run."""

    def build(self, tokenizer: Tokenizer | None = None) -> QuestionsEnvironment:
        """Build the environment; DataError when the file is missing or malformed."""
        from cwm_rl.environments.questions import QuestionsEnvironment

        return QuestionsEnvironment(self, tokenizer)
