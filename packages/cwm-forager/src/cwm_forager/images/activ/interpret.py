"""A job of a workflow as shell text: environment, conditions, steps, actions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from cwm_core.errors import DataError
from cwm_forager.images.activ.actions import KNOWN, NOTHING, name_of_action
from cwm_forager.images.activ.expressions import (
    ExpressionError,
    Lookup,
    Scope,
    Unknown,
    as_text,
    condition,
    substitute,
)
from cwm_forager.images.activ.workflow import Job
from cwm_forager.images.manifest import WORKDIR
from cwm_forager.images.plan import PlanError, quoted

STATE = "/tmp/cwm-activ"
"""Where steps leave environment, path and outputs for later ones."""
SHELLS = {
    "": "bash -e {0}",
    "bash": "bash --noprofile --norc -eo pipefail {0}",
    "sh": "sh -e {0}",
    "python": "python {0}",
}
_INSTALLS = re.compile(
    r"(\bpip3? +install\b[^\n;&|]*?)(?<= )(?<!-e )(?<!--editable )(\.(?:\[[^\]\s]*\])?)(?=\s|$)"
)
_UV_PYTHON = re.compile(r"\buv +python +(?:install|pin)\b[^\n;&|]*")
_MAX_DEPTH = 5


@dataclass(slots=True)
class Interpreted:
    """A job's steps: shell text by step, and what is worth knowing."""

    parts: list[tuple[str, str]] = field(default_factory=list)
    """Name and shell text, in order."""
    environment: dict[str, str] = field(default_factory=dict)
    """Of the workflow and the job."""
    notes: list[str] = field(default_factory=list)
    runs: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)
    """Text and environment of every ``run`` step, parallel to the parts that come of them."""


class Interpreter:
    """Plays one job with one combination of its matrix."""

    def __init__(
        self,
        job: Job,
        combination: Mapping[str, Any],
        root: Path,
        pythons: tuple[str, ...],
        *,
        event: str = "push",
        strict: bool = False,
    ) -> None:
        self._job, self._root, self._pythons = job, root, pythons
        self._strict = strict
        self._found = Interpreted()
        self._contexts: dict[str, Any] = {
            "github": _github(event, job),
            "matrix": dict(combination),
            "env": {},
            "runner": {"os": "Linux", "arch": "X64", "temp": "/tmp", "tool_cache": "/opt"},
            "job": {"status": "success"},
            "steps": Lookup(_step_context),
            "needs": Unknown(),
            "secrets": {"GITHUB_TOKEN": ""},
            "vars": {},
            "inputs": {},
            "strategy": {"job-index": 0, "job-total": 1},
        }
        self._scope = Scope(self._contexts, root)

    def interpret(self) -> Interpreted:
        """Return the job's steps.

        Raises:
            PlanError: an action is unknown and that is fatal.
            DataError: an expression cannot be read.
        """
        for place in (self._job.workflow.get("env"), self._job.body.get("env")):
            self._found.environment |= self._environment(place)
            self._contexts["env"] = dict(self._found.environment)
        defaults = [self._job.workflow.get("defaults"), self._job.body.get("defaults")]
        run: dict[str, Any] = {}
        for each in defaults:
            run |= ((each or {}).get("run") or {}) if isinstance(each, Mapping) else {}
        if "services" in self._job.body:
            self._note("services of the job are not started")
        if "container" in self._job.body:
            self._note("the job's container is not used")
        for number, step in enumerate(self._job.body["steps"]):
            if isinstance(step, Mapping):
                self._step(step, f"step {number + 1}", run, 0)
        for expression in dict.fromkeys(self._scope.unknown):
            self._note(f"cannot be known without running: {expression}")
        return self._found

    def _note(self, text: str) -> None:
        if text not in self._found.notes:
            self._found.notes.append(text)

    def _environment(self, values: Any) -> dict[str, str]:
        if not isinstance(values, Mapping):
            return {}
        return {str(key): as_text(self._text(value)) for key, value in values.items()}

    def _text(self, value: Any) -> Any:
        if isinstance(value, str):
            return substitute(value, self._scope)
        return value

    def _step(self, step: Mapping[str, Any], fallback: str, defaults: Any, depth: int) -> None:
        before = self._contexts["env"]
        own = self._environment(step.get("env"))
        self._contexts["env"] = {**before, **own}
        try:
            if not condition(step.get("if", ""), self._scope):
                return
            name = as_text(self._text(step.get("name", ""))) or fallback
            if isinstance(step.get("run"), str):
                self._run(step, name, own, defaults)
            elif isinstance(step.get("uses"), str):
                self._use(step, name, own, defaults, depth)
        except ExpressionError as error:
            raise DataError(f"{self._job.file}, {fallback}: {error.message}") from error
        finally:
            self._contexts["env"] = before

    def _run(
        self, step: Mapping[str, Any], name: str, own: Mapping[str, str], defaults: Any
    ) -> None:
        shell = str(step.get("shell") or defaults.get("shell") or "")
        place = as_text(
            self._text(step.get("working-directory") or defaults.get("working-directory") or ".")
        )
        template = SHELLS.get(shell, shell if "{0}" in shell else "")
        if not template:
            self._note(f"{name}: no shell {shell!r} here; left out")
            return
        text = editable(as_text(self._text(step["run"])))
        tolerant = step.get("continue-on-error") is True
        script = in_shell(text, template, place, own, str(step.get("id", "")), tolerant)
        self._found.parts.append((name, script))
        self._found.runs.append((text, {**own, "cwm-place": place}))

    def _use(
        self,
        step: Mapping[str, Any],
        name: str,
        own: Mapping[str, str],
        defaults: Any,
        depth: int,
    ) -> None:
        uses = str(step["uses"])
        given = step.get("with")
        inputs = self._environment(given if isinstance(given, Mapping) else {})
        action = name_of_action(uses)
        if uses.startswith("./"):
            self._composite(uses, inputs, name, defaults, depth)
        elif action in NOTHING:
            return
        elif action in KNOWN:
            script, notes = KNOWN[action](inputs, self._pythons)
            for note in notes:
                self._note(note)
            if script:
                self._found.parts.append(
                    (name, in_shell(script, SHELLS["bash"], ".", own, "", False))
                )
                self._found.runs.append(("", {}))
        elif self._strict:
            raise PlanError(
                f"{self._job.file}: the action {uses} is not understood",
                "unknown_actions=skip leaves it out",
            )
        else:
            self._note(f"unknown action left out: {uses}")

    def _composite(
        self, uses: str, inputs: Mapping[str, str], name: str, defaults: Any, depth: int
    ) -> None:
        """Play a local action that is made of steps."""
        content = _local_action(self._root, uses)
        runs = (content or {}).get("runs") or {}
        if content is None or runs.get("using") != "composite" or depth >= _MAX_DEPTH:
            self._note(f"local action left out: {uses}")
            return
        declared = content.get("inputs") or {}
        defaulted = {
            str(key): as_text(self._text((value or {}).get("default", "")))
            for key, value in declared.items()
        }
        before = self._contexts["inputs"]
        self._contexts["inputs"] = {**defaulted, **inputs}
        for number, inner in enumerate(runs.get("steps") or ()):
            if isinstance(inner, Mapping):
                self._step(inner, f"{name}, step {number + 1}", defaults, depth + 1)
        self._contexts["inputs"] = before


def _step_context(step_id: str) -> Lookup:
    """What is known of a step: it went well, and its outputs are where it wrote them."""

    def output(name: str) -> Unknown:
        path = f"{STATE}/output-{step_id}"
        return Unknown(f"$(sed -n 's/^{name}=//p' {path} 2>/dev/null | tail -n1)")

    def member(name: str) -> Any:
        return Lookup(output) if name == "outputs" else "success"

    return Lookup(member)


def _local_action(root: Path, uses: str) -> Mapping[str, Any] | None:
    directory = (root / uses).resolve()
    if not directory.is_relative_to(root.resolve()):
        return None
    for name in ("action.yml", "action.yaml"):
        path = directory / name
        if path.is_file():
            try:
                content = yaml.safe_load(path.read_text("utf-8", "replace"))
            except yaml.YAMLError:
                return None
            return content if isinstance(content, Mapping) else None
    return None


def _github(event: str, job: Job) -> dict[str, Any]:
    return {
        "event_name": event,
        "event": {},
        "ref": "refs/heads/main",
        "ref_name": "main",
        "ref_type": "branch",
        "head_ref": "",
        "base_ref": "",
        "repository": "owner/repository",
        "repository_owner": "owner",
        "workflow": as_text(job.workflow.get("name", job.file)),
        "job": job.name,
        "workspace": WORKDIR,
        "run_id": "1",
        "run_number": "1",
        "run_attempt": "1",
        "actor": "cwm",
        "sha": "0" * 40,
        "token": "",
        "server_url": "https://github.com",
        "action_path": WORKDIR,
    }


def editable(script: str) -> str:
    """Let ``pip install .`` install in place: tests shall run the repository's files.

    uv is asked for no other Python than that of the virtual environment.
    """
    script = _UV_PYTHON.sub("true", script)
    return _INSTALLS.sub(lambda found: f"{found[1]}-e {found[2]}", script)


def in_shell(
    text: str, template: str, place: str, own: Mapping[str, str], step_id: str, tolerant: bool
) -> str:
    """Return shell text that plays one step as a runner does, with what earlier steps left."""
    exports = "".join(f"export {key}={quoted(value)}\n" for key, value in own.items())
    command = template.replace("{0}", '"$cwm_script"')
    failing = " || true" if tolerant else ""
    return (
        f"mkdir -p {STATE}; touch {STATE}/env {STATE}/path\n"
        f"export GITHUB_ENV={STATE}/env GITHUB_PATH={STATE}/path "
        f"GITHUB_OUTPUT={STATE}/output-{step_id or 'none'} GITHUB_STEP_SUMMARY=/dev/null "
        f"GITHUB_WORKSPACE={WORKDIR} GITHUB_ACTIONS=true CI=true RUNNER_OS=Linux "
        "RUNNER_TEMP=/tmp\n"
        f"{_READ_ENV}\n"
        f"{exports}"
        f"cd {quoted(f'{WORKDIR}/{place}')}\n"
        f"cwm_script=$(mktemp); cat > \"$cwm_script\" <<'CWM_STEP'\n{text.rstrip()}\nCWM_STEP\n"
        f"{command}{failing}"
    )


_READ_ENV = rf"""
while IFS= read -r cwm_line; do
  case "$cwm_line" in
    *"<<"*) cwm_key="${{cwm_line%%<<*}}"; cwm_end="${{cwm_line#*<<}}"; cwm_value=""
      while IFS= read -r cwm_line && [ "$cwm_line" != "$cwm_end" ]; do
        cwm_value="$cwm_value${{cwm_value:+
}}$cwm_line"; done
      export "$cwm_key=$cwm_value" ;;
    *=*) export "${{cwm_line?}}" ;;
  esac
done < {STATE}/env
while IFS= read -r cwm_line; do PATH="$cwm_line:$PATH"; done < {STATE}/path
export PATH
""".strip()
