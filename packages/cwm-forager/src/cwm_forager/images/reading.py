"""What a Python project's files say about its dependencies and its tests; nothing is executed."""

from __future__ import annotations

import ast
import configparser
import re
import shlex
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TEST_WORDS = ("test", "tests", "testing", "unittest", "pytest", "dev", "develop", "development")
_TEST_RUNNERS = re.compile(
    r"(?:^|\s)(?:py\.test|pytest)(?=\s|$)|-m\s+(?:pytest|unittest|coverage)|\bunittest\b"
)
_DROPPED = re.compile(
    r"^(--cov\b.*|--cov-.*|-n(auto|\d+)?|--numprocesses.*|-v+|-q+|--verbose|--color.*|-x|--exitfirst"
    r"|--junit-?xml.*|--durations.*|-r\w*|-s|--maxfail.*|--html.*|--tb.*|-W.*|--dist.*)$"
)
_WITH_VALUE = frozenset(("--cov", "-n", "--numprocesses", "--junitxml", "--durations", "--dist"))
_VALUE_FOLLOWS = (["-m"], ["-k"], ["-p"], ["-o"], ["-c"])
_PLUGINS = {
    "--cov": "pytest-cov",
    "-n": "pytest-xdist",
    "--numprocesses": "pytest-xdist",
    "--dist": "pytest-xdist",
    "--timeout": "pytest-timeout",
    "--benchmark": "pytest-benchmark",
    "--asyncio-mode": "pytest-asyncio",
    "--random-order": "pytest-random-order",
    "--mypy": "pytest-mypy",
}
_INI_PLUGINS = {
    "asyncio_mode": "pytest-asyncio",
    "timeout": "pytest-timeout",
    "django_settings_module": "pytest-django",
    "trio_mode": "pytest-trio",
}
_DISTRIBUTIONS = {
    "yaml": "pyyaml",
    "PIL": "pillow",
    "sklearn": "scikit-learn",
    "bs4": "beautifulsoup4",
    "dateutil": "python-dateutil",
    "cv2": "opencv-python-headless",
    "attr": "attrs",
    "pkg_resources": "setuptools",
    "_pytest": "pytest",
    "docx": "python-docx",
    "jwt": "pyjwt",
    "OpenSSL": "pyopenssl",
    "Crypto": "pycryptodome",
    "git": "gitpython",
    "serial": "pyserial",
    "psycopg2": "psycopg2-binary",
    "google": "protobuf",
}


@dataclass(slots=True)
class Project:
    """What was found."""

    installable: bool = False
    requires_python: str = ""
    extras: list[str] = field(default_factory=list)
    """Optional dependencies that sound like tests."""
    requirements: list[str] = field(default_factory=list)
    """Requirements of tests, as pip takes them."""
    files: list[str] = field(default_factory=list)
    """Files of requirements, relative."""
    guesses: list[str] = field(default_factory=list)
    """Distributions that tests import or pytest's options need, by guess."""
    arguments: list[str] = field(default_factory=list)
    """Arguments of pytest."""
    versioned_by_git: bool = False
    environment: dict[str, str] = field(default_factory=dict)


def read_project(directory: Path) -> Project:
    """Read every file that tells how a project is installed and tested."""
    project = Project()
    pyproject = _toml(directory / "pyproject.toml")
    setup = _ini(directory / "setup.cfg")
    project.installable = (
        any((directory / name).exists() for name in ("setup.py", "setup.cfg"))
        or "project" in pyproject
        or "build-system" in pyproject
    )
    _read_pyproject(project, pyproject)
    _read_setup(project, setup, directory)
    _read_requirement_files(project, directory)
    commands = [*_tox_commands(project, directory, pyproject), *_nox(project, directory)]
    commands += list(ci_commands(directory))
    project.arguments = test_arguments(commands, directory)
    _read_pytest_options(project, directory, pyproject, setup)
    project.guesses += imported_by_tests(directory)
    for name in ("extras", "requirements", "files", "guesses"):
        setattr(project, name, list(dict.fromkeys(getattr(project, name))))
    return project


def _read_pyproject(project: Project, pyproject: dict[str, Any]) -> None:
    table = pyproject.get("project") or {}
    project.requires_python = str(table.get("requires-python", ""))
    optional = table.get("optional-dependencies") or {}
    project.extras += [name for name in optional if name.lower() in TEST_WORDS]
    groups = pyproject.get("dependency-groups") or {}
    for name in groups:
        if name.lower() in TEST_WORDS:
            project.requirements += _group(groups, name, set())
    tool = pyproject.get("tool") or {}
    poetry = tool.get("poetry") or {}
    tables = [poetry.get("dev-dependencies") or {}]
    for name, group in (poetry.get("group") or {}).items():
        if name.lower() in TEST_WORDS:
            tables.append(group.get("dependencies") or {})
    for dependencies in tables:
        project.requirements += [name for name in dependencies if name.lower() != "python"]
    pdm = (tool.get("pdm") or {}).get("dev-dependencies") or {}
    for name, wanted in pdm.items():
        if name.lower() in TEST_WORDS:
            project.requirements += [str(each) for each in wanted]
    hatch = ((tool.get("hatch") or {}).get("envs") or {}).items()
    for _, env in hatch:
        if isinstance(env, dict):
            project.requirements += [str(each) for each in env.get("dependencies") or ()]
    requires = " ".join(map(str, (pyproject.get("build-system") or {}).get("requires") or ()))
    project.versioned_by_git = any(
        word in requires
        for word in ("setuptools_scm", "setuptools-scm", "hatch-vcs", "versioningit")
    )


def _group(groups: dict[str, Any], name: str, seen: set[str]) -> list[str]:
    found: list[str] = []
    if name in seen:
        return found
    for entry in groups.get(name) or ():
        if isinstance(entry, str):
            found.append(entry)
        elif isinstance(entry, dict) and "include-group" in entry:
            found += _group(groups, str(entry["include-group"]), {*seen, name})
    return found


def _read_setup(project: Project, setup: configparser.ConfigParser | None, directory: Path) -> None:
    if setup is not None and setup.has_section("options.extras_require"):
        names = setup.options("options.extras_require")
        project.extras += [name for name in names if name.lower() in TEST_WORDS]
    if setup is not None and not project.requires_python:
        project.requires_python = setup.get("options", "python_requires", fallback="")
    for call in _calls(directory / "setup.py", "setup"):
        for keyword in call.keywords:
            value = _literal(keyword.value)
            if keyword.arg == "extras_require" and isinstance(value, dict):
                project.extras += [name for name in value if str(name).lower() in TEST_WORDS]
            elif keyword.arg == "tests_require" and isinstance(value, (list, tuple)):
                project.requirements += [str(each) for each in value]
            elif keyword.arg == "python_requires" and isinstance(value, str):
                project.requires_python = project.requires_python or value
            elif keyword.arg == "use_scm_version":
                project.versioned_by_git = True


def _read_requirement_files(project: Project, directory: Path) -> None:
    candidates = [*directory.glob("*requirements*.txt"), *directory.glob("*requirements*/*.txt")]
    candidates += [*directory.glob("tests/requirements*.txt"), *directory.glob("ci/*.txt")]
    for path in sorted(set(candidates)):
        words = re.split(r"[^a-z]+", str(path.relative_to(directory)).lower())
        plain = path.name in ("requirements.txt",) and path.parent == directory
        if plain or any(word in TEST_WORDS for word in words):
            project.files.append(str(path.relative_to(directory)))


def _tox_commands(project: Project, directory: Path, pyproject: dict[str, Any]) -> Iterator[str]:
    """Yield the commands of tox's test environment, and keep its dependencies."""
    text = ((pyproject.get("tool") or {}).get("tox") or {}).get("legacy_tox_ini")
    parser = _ini_text(text) if isinstance(text, str) else _ini(directory / "tox.ini")
    if parser is None or not parser.has_section("testenv"):
        return
    section = "testenv"
    for line in parser.get(section, "deps", fallback="").splitlines():
        requirement = _tox_factor(line)
        if requirement.startswith("-r"):
            project.files.append(_tox_place(requirement[2:].strip()))
        elif requirement and "{" not in requirement and not requirement.startswith("-"):
            project.requirements.append(requirement)
    extras = parser.get(section, "extras", fallback="")
    project.extras += [e for e in map(_tox_factor, re.split(r"[,\n]", extras)) if e]
    for line in parser.get(section, "setenv", fallback="").splitlines():
        key, _, value = _tox_factor(line).partition("=")
        if key.strip() and "{" not in value and key.strip() not in ("PATH", "HOME"):
            project.environment[key.strip()] = value.strip()
    for line in parser.get(section, "commands", fallback="").replace("\\\n", " ").splitlines():
        yield _tox_factor(line)


def _tox_factor(line: str) -> str:
    """Drop the condition in front of a line: ``unit: pytest``."""
    line = line.partition(" #")[0].strip()
    found = re.match(r"^(?!https?:)([!\w.,{}-]+):\s+(.*)$", line)
    return found[2].strip() if found else line


def _tox_place(path: str) -> str:
    return re.sub(r"^\{(toxinidir|tox_root)\}[/\\]?", "", path)


def _nox(project: Project, directory: Path) -> Iterator[str]:
    for call in _calls(directory / "noxfile.py", "install"):
        words = [value for arg in call.args if isinstance(value := _literal(arg), str)]
        if "-r" in words:
            project.files += words[words.index("-r") + 1 :][:1]
        else:
            project.requirements += [w for w in words if not w.startswith(("-", ".", "/"))]
    for call in _calls(directory / "noxfile.py", "run"):
        words = [value for arg in call.args if isinstance(value := _literal(arg), str)]
        if words:
            yield shlex.join(words)


def ci_commands(directory: Path) -> Iterator[str]:
    """Yield the lines of scripts in CI files and Makefiles."""
    places = [*directory.glob(".github/workflows/*.y*ml"), directory / ".travis.yml"]
    places += [directory / ".gitlab-ci.yml", directory / "appveyor.yml", directory / "Makefile"]
    for path in sorted(places):
        if path.is_file():
            for line in path.read_text("utf-8", "replace").splitlines():
                text = line.strip().lstrip("-@ ")
                yield re.sub(r"^(run|script|command):\s*", "", text)


def test_arguments(commands: list[str], directory: Path) -> list[str]:
    """Return the arguments for pytest from the first command that runs tests."""
    for command in commands:
        if _TEST_RUNNERS.search(command):
            arguments = pytest_arguments(command, directory)
            if arguments is not None:
                return arguments
    return []


def pytest_arguments(command: str, directory: Path) -> list[str] | None:
    """Turn a command that runs tests into arguments for pytest; None where it does not.

    What concerns output, coverage and processes is left out, and so are paths that do not exist.
    """
    command = re.sub(
        r"\{env_site_packages_dir\}/?|\{(toxinidir|tox_root|changedir)\}/", "", command
    )
    command = re.sub(r"\{[^}]*\}|\$\{\{.*?\}\}|\$\{?\w+\}?", " ", command)
    try:
        words = shlex.split(command, comments=True)
    except ValueError:
        return None
    for stop in ("&&", "||", "|", ";", ">", "2>&1"):
        if stop in words:
            start = next((i for i, w in enumerate(words) if _is_runner(w)), 0)
            rest = [i for i, w in enumerate(words) if w == stop and i > start]
            words = words[: rest[0]] if rest else words
    place = next((i for i, w in enumerate(words) if _is_runner(w)), None)
    if place is None:
        return None
    arguments = words[place + 1 :]
    if words[place] == "unittest":
        return _unittest_arguments(arguments, directory)
    return _kept(arguments, directory)


def _is_runner(word: str) -> bool:
    return word in ("pytest", "py.test", "unittest") or word.endswith(("/pytest", "/py.test"))


def _unittest_arguments(arguments: list[str], directory: Path) -> list[str]:
    found = []
    for word in arguments:
        path = word.replace(".", "/")
        if not word.startswith("-") and (directory / f"{path}.py").exists():
            found.append(f"{path}.py")
        elif not word.startswith("-") and (directory / word).is_dir():
            found.append(word)
    return found


def _kept(arguments: list[str], directory: Path) -> list[str]:
    kept: list[str] = []
    skip = False
    for word in arguments:
        if skip:
            skip = False
        elif _DROPPED.match(word):
            skip = word in _WITH_VALUE and word != "--cov"
        else:
            path = directory / word.partition("::")[0]
            if word.startswith("-") or kept[-1:] in _VALUE_FOLLOWS or path.exists():
                kept.append(word)
    return kept


def _read_pytest_options(
    project: Project,
    directory: Path,
    pyproject: dict[str, Any],
    setup: configparser.ConfigParser | None,
) -> None:
    table = ((pyproject.get("tool") or {}).get("pytest") or {}).get("ini_options") or {}
    options = {str(key): value for key, value in table.items()}
    for parser, section in (
        (_ini(directory / "pytest.ini"), "pytest"),
        (_ini(directory / "tox.ini"), "pytest"),
        (setup, "tool:pytest"),
    ):
        if parser is not None and parser.has_section(section):
            options.update(parser.items(section))
    addopts = options.get("addopts", "")
    words = list(map(str, addopts)) if isinstance(addopts, list) else str(addopts).split()
    for option, plugin in _PLUGINS.items():
        if any(word == option or word.startswith((f"{option}=", f"{option}-")) for word in words):
            project.guesses.append(plugin)
    project.guesses += [
        plugin for key, plugin in _INI_PLUGINS.items() if key in map(str.lower, options)
    ]


def imported_by_tests(directory: Path) -> list[str]:
    """Return the distributions of foreign modules that test files import, by guess."""
    places = [directory, *(directory / name for name in ("src", "lib", "tests", "test"))]
    local = {path.stem for place in places for path in place.glob("*")}
    found: set[str] = set()
    files = [*directory.rglob("test_*.py"), *directory.rglob("*_test.py")]
    files += directory.rglob("conftest.py")
    for path in sorted(files)[:400]:
        for name in _imports(path):
            if name not in sys.stdlib_module_names and name not in local:
                found.add(_DISTRIBUTIONS.get(name, name))
    return sorted(found)


def _imports(path: Path) -> Iterator[str]:
    """Yield what a module imports at its top, outside of ``try`` and ``if``."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError, OSError):
        return
    for node in tree.body:
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            yield node.module.partition(".")[0]


def _calls(path: Path, name: str) -> Iterator[ast.Call]:
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError, OSError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            function = node.func
            if getattr(function, "id", getattr(function, "attr", None)) == name:
                yield node


def _literal(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, MemoryError, RecursionError):
        return None


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        return {}


def _ini(path: Path) -> configparser.ConfigParser | None:
    try:
        return _ini_text(path.read_text("utf-8", "replace"))
    except OSError:
        return None


def _ini_text(text: str) -> configparser.ConfigParser | None:
    parser = configparser.ConfigParser(interpolation=None, strict=False, allow_no_value=True)
    try:
        parser.read_string(text)
    except configparser.Error:
        return None
    return parser
