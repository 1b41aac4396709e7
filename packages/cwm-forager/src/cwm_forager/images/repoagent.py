"""The strategy `repoagent`: a model works in a container until the tests run.

What counts is the script that it hands in: it is run in a fresh container, and the image is built
from it like from any other plan. What the model did on its way there leaves no trace.
"""

from __future__ import annotations

import re
import shlex
import time
from pathlib import Path

from cwm_core.dialog.messages import Message
from cwm_core.sandbox.base import ExecResult
from cwm_forager.images.config import RepoAgentConfig
from cwm_forager.images.conversation import BudgetError, Conversation
from cwm_forager.images.manifest import WORKDIR
from cwm_forager.images.plan import (
    VENV,
    BuildPlan,
    PlanError,
    Step,
    Surroundings,
    Workbench,
    in_venv,
    virtual_environment,
)

SYSTEM = f"""\
You make a repository executable: its dependencies installed, its test suite running under pytest.

The repository lies in {WORKDIR}, in a Debian container with network, where you are root. A virtual
environment with pytest is active in {VENV}. Each reply makes one tool call:

<tool: bash>
COMMAND
</tool>

runs a command in a new shell in {WORKDIR} and shows its output. When you know how the repository is
built, hand in a script that does it from the beginning, and the test command:

<tool: submit>
test: python -m pytest ARGUMENTS
script:
LINES OF A BASH SCRIPT, run with -e in {WORKDIR}
</tool>

The script is run in a fresh container, then the tests; if they do not run you are told why and can
go on. Install the repository in place (pip install -e .). Do not change its files."""
_SUBMISSION = re.compile(
    r"\s*test:[ \t]*(?P<test>[^\n]*)\n\s*script:[ \t]*\n?(?P<script>.*)", re.DOTALL
)
_NO_CALL = "Make exactly one call of `bash` or `submit` in each reply."


class RepoAgent:
    """Lets a model find out how a repository is built."""

    def __init__(self, config: RepoAgentConfig) -> None:
        self._config = config

    async def plan(self, repository: Path, surroundings: Surroundings) -> BuildPlan:
        """Plan by asking a model (see `ImageStrategy.plan`).

        Raises:
            PlanError: turns, tokens or time are spent before the tests run.
            EngineError: the engine fails.
        """
        config = self._config
        engine = config.engine.build()
        try:
            conversation = Conversation(
                engine,
                config.engine.name,
                config.tokenizer,
                SYSTEM,
                max_tokens=config.max_tokens,
                budget_tokens=config.budget_tokens,
                temperature=config.temperature,
            )
            async with surroundings.workbench() as bench:
                await _prepare(bench)
                return await self._work(conversation, bench, repository, surroundings)
        except BudgetError as error:
            raise PlanError(
                "the model spent its tokens before the tests ran", error.hint
            ) from error
        finally:
            await engine.close()

    async def _work(
        self,
        conversation: Conversation,
        bench: Workbench,
        repository: Path,
        surroundings: Surroundings,
    ) -> BuildPlan:
        end = time.monotonic() + self._config.seconds
        message = Message.user(_first_message(repository))
        for turn in range(self._config.turns):
            if time.monotonic() > end:
                raise PlanError("the model ran out of time before the tests ran", "raise seconds")
            answer = await conversation.ask(message)
            surroundings.log(f"-- turn {turn + 1}\n{answer.content}")
            calls = answer.calls
            if len(calls) != 1 or calls[0].name not in ("bash", "submit"):
                message = Message.user(_NO_CALL)
            elif calls[0].name == "bash":
                result = await bench.exec(
                    calls[0].content, self._config.command_s, cwd=WORKDIR, env=in_venv()
                )
                message = Message.tool_result("bash", self._shown(result))
                surroundings.log(message.content)
            else:
                plan, reason = await self._tried(calls[0].content, surroundings)
                if plan is not None:
                    return plan
                surroundings.log(reason)
                message = Message.tool_result("submit", reason)
        raise PlanError(
            f"the tests did not run after {self._config.turns} replies of the model",
            "raise turns, or use another model",
        )

    async def _tried(
        self, submission: str, surroundings: Surroundings
    ) -> tuple[BuildPlan | None, str]:
        """Run a submission in a fresh container; return a plan, or why it is none."""
        found = _SUBMISSION.fullmatch(submission)
        arguments = _pytest_arguments(found["test"]) if found else None
        if found is None or arguments is None:
            return None, "Give `test: python -m pytest ...`, then `script:` and the script."
        script = found["script"].strip() or "true"
        command = (f"{VENV}/bin/python", "-m", "pytest", *arguments)
        async with surroundings.workbench() as bench:
            await _prepare(bench)
            lines = ["bash", "-e", "-c", script]
            built = await bench.exec(
                shlex.join(lines), 4 * self._config.command_s, cwd=WORKDIR, env=in_venv()
            )
            if built.exit_code != 0:
                return None, f"The script failed.\n{self._shown(built)}"
            run = await bench.exec(
                shlex.join([*command, "-q", "-p", "no:cacheprovider"]),
                4 * self._config.command_s,
                cwd=WORKDIR,
                env=in_venv(),
            )
            if run.exit_code not in (0, 1) or not re.search(r"\b[1-9]\d* passed\b", run.text):
                return None, f"The tests do not run.\n{self._shown(run)}"
        step = Step("the model's script", script)
        return BuildPlan((virtual_environment(), step), command, in_venv()), ""

    def _shown(self, result: ExecResult) -> str:
        """Return a command's output as the model sees it."""
        text = (result.stdout + result.stderr).decode("utf-8", "backslashreplace")
        most = self._config.output_chars
        if len(text) > most:
            half = most // 2
            text = f"{text[:half]}\n... {len(text) - most} characters left out ...\n{text[-half:]}"
        status = "timed out" if result.exit_code is None else f"exit code {result.exit_code}"
        return f"<output>\n{text.strip()}\n</output>\n{status}"


async def _prepare(bench: Workbench) -> None:
    result = await bench.exec(virtual_environment().script, 1800, cwd="/")
    if result.exit_code != 0:
        raise PlanError(f"the base cannot make a virtual environment: {result.text[-300:]}")


def _first_message(repository: Path) -> str:
    names = sorted(path.name + "/" * path.is_dir() for path in repository.iterdir())
    return "The repository holds:\n" + "\n".join(names[:200])


def _pytest_arguments(text: str) -> list[str] | None:
    try:
        words = shlex.split(text)
    except ValueError:
        return None
    for start in (["python", "-m", "pytest"], ["python3", "-m", "pytest"], ["pytest"]):
        if words[: len(start)] == start:
            return words[len(start) :]
    return None
