"""What an agent is told at the start."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from cwm_core.dialog.template import REASONING_SYSTEM_PROMPT
from cwm_core.dialog.tools import ToolSpec, announce_tools
from cwm_forager.tasks.instance import Instance

_PLACE = """You work in a Linux container without network. Its shell lasts from turn to turn; a \
command may take {timeout_s:g} seconds. You have at most {turns} turns and a context of {tokens} \
tokens in all.

{tools}

RULES
* Call exactly one tool in each turn until you have submitted.
* After you have submitted, either go on, or give a final answer without a tool call, which ends \
the work. There is no final answer before a submission."""

_REPAIR = """The repository in {root} has this problem:

<issue_description>
{issue}
</issue_description>

Change its source so that the problem is solved. Then write all changes into a patch file in git's \
diff format (such as `git diff > fix.patch`) and submit the path of that file. Tests that you add \
or change are not part of the judgement.

Once you have submitted and are sure of your patch, give a final answer in Markdown that sums up \
the issue, its cause, the changes and how you tested them, each under a `##` heading.

The shell is in {root}; what the repository needs is installed."""

_REPRODUCE = """The repository in {root} has this problem:

<issue_description>
{issue}
</issue_description>

Write a script `test_issue.py` that shows whether the problem is there. It is run as \
`python test_issue.py` in {root}, needs nothing but the repository, ends by itself, and prints for \
each case that it tries exactly one of these lines:

* `Issue reproduced` where the problem shows,
* `Issue resolved` where the code works as it should,
* `Other issues` where anything else goes wrong.

Submit the path of the script, then sum up in a final answer how it works.

The shell is in {root}; what the repository needs is installed."""

_HINT = """

These changes to the tests show what is expected; a solution has to pass them:

```diff
{test_patch}
```"""


@dataclass(frozen=True, slots=True)
class Prompt:
    """The first two messages."""

    system: str
    user: str

    @property
    def text(self) -> str:
        """Both, for agents that take plain text."""
        return f"{self.system}\n\n{self.user}"


def prompt_for(
    instance: Instance,
    tools: Iterable[ToolSpec],
    *,
    turns: int,
    tokens: int,
    timeout_s: float,
    reproduce: bool = False,
    thinking: bool = False,
    show_tests: bool = False,
    show_hints: bool = False,
) -> Prompt:
    """Return the prompt for an instance."""
    system = _PLACE.format(
        timeout_s=timeout_s, turns=turns, tokens=tokens, tools=announce_tools(tools)
    )
    if thinking:
        system = f"{REASONING_SYSTEM_PROMPT}\n\n{system}"
    issue = instance.problem_statement.rstrip()
    if show_hints and instance.hints:
        issue += f"\n\n{instance.hints.rstrip()}"
    if show_tests and instance.test_patch:
        issue += _HINT.format(test_patch=instance.test_patch.rstrip())
    template = _REPRODUCE if reproduce else _REPAIR
    return Prompt(system, template.format(root=instance.root, issue=issue))
