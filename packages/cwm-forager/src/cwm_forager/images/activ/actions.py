"""What actions of others do, as shell text; checkout, caches and uploads need nothing here."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from cwm_forager.images.heuristic import choose_python
from cwm_forager.images.plan import VENV, quoted

NOTHING = frozenset(
    """
    actions/checkout actions/cache actions/cache/restore actions/cache/save
    actions/upload-artifact actions/github-script actions/labeler actions/stale
    hynek/build-and-inspect-python-package
    codecov/codecov-action coverallsapp/github-action coverallsapp/coveralls-github-action
    codacy/codacy-coverage-reporter-action paambaati/codeclimate-action
    github/codeql-action/init github/codeql-action/analyze github/codeql-action/upload-sarif
    pypa/gh-action-pypi-publish softprops/action-gh-release step-security/harden-runner
    styfle/cancel-workflow-action re-actors/alls-green EnricoMi/publish-unit-test-result-action
    dorny/test-reporter mikepenz/action-junit-report mxschmitt/action-tmate
    jlumbroso/free-disk-space 8398a7/action-slack
    """.split()  # noqa: SIM905
)
"""Actions without which tests run as well."""
Made = tuple[str, list[str]]
"""Shell text, and notes."""


def setup_python(inputs: Mapping[str, str], pythons: tuple[str, ...]) -> Made:
    """Make a virtual environment of the version asked for, or of the nearest there is."""
    wanted = inputs.get("python-version", "").split("\n")[0].strip().strip("'\"")
    notes: list[str] = []
    python = "python3"
    if re.fullmatch(r"3\.\d+(\.\d+)?(-dev|t)?", wanted):
        minor = ".".join(re.split(r"[.-]", wanted.rstrip("t"))[:2])
        if minor in pythons:
            python = f"python{minor}"
        else:
            notes.append(f"setup-python: the base has no Python {wanted}; used {pythons[0]}")
    elif re.fullmatch(r"[<>=~!^][\d., <>=~!*]*", wanted):
        python, notes = choose_python(wanted.replace("^", "~="), pythons)
    elif wanted not in ("", "3", "3.x"):
        notes.append(f"setup-python: cannot use {wanted!r}; used Python {pythons[0]}")
    return f"[ -d {VENV} ] || {python} -m venv {VENV}\n{VENV}/bin/python -m pip --version", notes


def _pip(*names: str) -> Callable[[Mapping[str, str], tuple[str, ...]], Made]:
    def install(inputs: Mapping[str, str], pythons: tuple[str, ...]) -> Made:
        version = inputs.get("version", "")
        pinned = f"=={version}" if re.fullmatch(r"\d[\w.]*", version) else ""
        wanted = [f"{names[0]}{pinned}", *names[1:]]
        return f"python -m pip install --quiet {' '.join(map(quoted, wanted))}", []

    return install


def _setup_pdm(inputs: Mapping[str, str], pythons: tuple[str, ...]) -> Made:
    script, notes = setup_python(inputs, pythons)
    return f"{script}\npython -m pip install --quiet pdm", notes


def _setup_uv(inputs: Mapping[str, str], pythons: tuple[str, ...]) -> Made:
    script, notes = setup_python({"python-version": inputs.get("python-version", "")}, pythons)
    return f"{script}\npython -m pip install --quiet uv", notes


def _apt(inputs: Mapping[str, str], pythons: tuple[str, ...]) -> Made:
    packages = " ".join(quoted(word) for word in inputs.get("packages", "").split())
    return f"apt-get update -qq && apt-get install -y -qq {packages}", []


def _nick_retry(inputs: Mapping[str, str], pythons: tuple[str, ...]) -> Made:
    return inputs.get("command", "true"), []


def _download(inputs: Mapping[str, str], pythons: tuple[str, ...]) -> Made:
    """Build the packages that another job would have left; other artifacts are not made."""
    name, place = inputs.get("name", ""), inputs.get("path", "") or "."
    if not re.search(r"dist|wheel|package", f"{name} {place}", re.IGNORECASE):
        return "", [f"download-artifact: {name or place!r} of another job is not there"]
    script = f"python -m pip install --quiet build && python -m build --outdir {quoted(place)}"
    return script, ["download-artifact: the packages were built here"]


KNOWN: dict[str, Callable[[Mapping[str, str], tuple[str, ...]], Made]] = {
    "actions/setup-python": setup_python,
    "actions/download-artifact": _download,
    "astral-sh/setup-uv": _setup_uv,
    "yezz123/setup-uv": _setup_uv,
    "snok/install-poetry": _pip("poetry"),
    "abatilo/actions-poetry": _pip("poetry"),
    "pdm-project/setup-pdm": _setup_pdm,
    "pypa/hatch": _pip("hatch"),
    "wntrblm/nox": _pip("nox"),
    "excitedleigh/setup-nox": _pip("nox"),
    "pre-commit/action": lambda inputs, pythons: ("", []),
    "awalsh128/cache-apt-pkgs-action": _apt,
    "nick-fields/retry": _nick_retry,
    "nick-invision/retry": _nick_retry,
}


def name_of_action(uses: str) -> str:
    """Return an action's name without its version."""
    return uses.partition("@")[0].strip()
