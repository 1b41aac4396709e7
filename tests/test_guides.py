"""Every code block of the guides is true. A block's info string says what is done with it.

::

    LANG file=PATH   written to PATH in the guide's working directory
    python           run, in one namespace per guide
    console          each ``$ command`` is run; what follows it is its output (``...``: anything)
    sh config        the overrides of each ``cwm`` command are composed and validated, not run
    text             not checked: patterns, pictures, commands for other machines

``$ pip install .`` installs the files written so far with the fixture `make_plugin`.
"""

import ast
import doctest
import inspect
import os
import re
import shlex
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest

from cwm_core import hookspecs
from cwm_core.components import ComponentConfig
from cwm_core.config import CommandConfig, compose
from cwm_core.plugin_loading import FIRST_PARTY, component_kinds
from cwm_core.plugins import registry, resolve
from cwm_core.testing.conformance import check_component, declared

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
COMPONENTS = DOCS / "components"
LIFECYCLE = (
    "run_started",
    "metrics",
    "checkpoint_saved",
    "validation",
    "trajectory_finished",
    "run_finished",
)
CONFIGS = {
    "trace functions": "cwm_tracer.collect.functions_config:FunctionsConfig",
    "trace tests": "cwm_tracer.collect.repository.config:TestsConfig",
    "trace contest": "cwm_tracer.collect.contest_config:ContestConfig",
    "trace narrate": "cwm_tracer.narrate.config:NarrateConfig",
    "trace": "cwm_tracer.collect.config:TraceConfig",
    "tokenizer train": "cwm_train.commands.tokenizer:TokenizerConfig",
    "train": "cwm_train.loop.config:TrainConfig",
    "model init": "cwm_train.commands.model:InitConfig",
    "serve": "cwm_train.commands.serve:ServeConfig",
    "eval grade": "cwm_eval.config:GradeConfig",
    "eval": "cwm_eval.config:EvalConfig",
    "image build": "cwm_forager.images.config:BuildConfig",
    "forage mutate": "cwm_forager.mutate.config:MutateConfig",
    "rl score": "cwm_rl.config:ScoreConfig",
    "rl demonstrate": "cwm_rl.config:DemonstrateConfig",
    "rl train": "cwm_rl.train_config:RlConfig",
}
BLOCK = re.compile(r"^```(\w+)(?: ([^\n]*))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ROW = re.compile(r"^\| `([^`]+)` \| `([^`]+)` \|", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """One code block of a page."""

    language: str
    info: str
    text: str
    where: str

    @property
    def file(self) -> str | None:
        found = re.fullmatch(r"file=(\S+)", self.info)
        return found[1] if found else None


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    found = []
    for match in BLOCK.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        found.append(Block(match[1], match[2] or "", match[3], f"{page.name}:{line}"))
    return found


class Guide:
    """Does what the pages of one story say, in one directory."""

    def __init__(self, directory: Path, make_plugin) -> None:
        self.directory = directory
        self._make_plugin = make_plugin
        self._written: dict[str, str] = {}
        self._names: dict[str, object] = {"__name__": "guide"}

    def follow(self, page: Path) -> None:
        for block in blocks(page):
            self.do(block)

    def do(self, block: Block) -> None:
        if block.file is not None:
            self._write(block.file, block.text)
        elif (block.language, block.info) == ("python", ""):
            exec(compile(block.text, block.where, "exec"), self._names)
        elif (block.language, block.info) == ("console", ""):
            self._session(block)
        elif (block.language, block.info) == ("sh", "config"):
            check_commands(block)
        else:
            assert (block.language, block.info) == ("text", ""), f"{block.where}: unknown marker"

    def _write(self, name: str, text: str) -> None:
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        self._written[name] = text

    def _session(self, block: Block) -> None:
        for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
            command, wanted = split_command(part)
            if command == "pip install .":
                self._install()
            else:
                self._run(command, wanted, block.where)

    def _install(self) -> None:
        project = tomllib.loads(self._written["pyproject.toml"])["project"]
        ((name, value),) = project["entry-points"]["cwm"].items()
        modules = {
            path.removeprefix("src/").removesuffix(".py").replace("/", "."): text
            for path, text in self._written.items()
            if path.startswith("src/")
        }
        version = project["version"]
        self._make_plugin(project["name"], modules, value, name=name, version=version)

    def _run(self, command: str, wanted: str, where: str) -> None:
        done = subprocess.run(
            ["sh", "-c", command],
            cwd=self.directory,
            env=environment(),
            capture_output=True,
            text=True,
        )
        refused = wanted.startswith("Error:")
        told = f"{where}: $ {command}\n{done.stdout}{done.stderr}"
        assert done.returncode == (2 if refused else 0), told
        if wanted:
            got = done.stderr if refused else done.stdout
            flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
            assert doctest.OutputChecker().check_output(wanted, got, flags), told


def split_command(part: str) -> tuple[str, str]:
    """Return a command, its continued lines joined, and the output that the page shows."""
    lines = part.split("\n")
    end = next(index for index, line in enumerate(lines) if not line.endswith("\\"))
    command = " ".join(line.removesuffix("\\").strip() for line in lines[: end + 1])
    return command, "\n".join(lines[end + 1 :]).strip("\n")


def environment() -> dict[str, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    # options for this run of pytest would show in the output of those that guides start
    given = {name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"}
    return {**given, "PATH": path, "COLUMNS": "100", "OMP_NUM_THREADS": "1"}


def check_commands(block: Block) -> None:
    """Compose the configuration of every ``cwm`` command of a block."""
    for line in block.text.replace("\\\n", " ").splitlines():
        program, *words = shlex.split(line, comments=True) or [""]
        if not program:
            continue
        assert program == "cwm", f"{block.where}: {line}"
        command = next(name for name in CONFIGS if words[: len(name.split())] == name.split())
        overrides, config = words[len(command.split()) :], None
        if "--config" in overrides:
            at = overrides.index("--config")
            config, overrides = Path(overrides[at + 1]), overrides[:at] + overrides[at + 2 :]
        assert isinstance(
            compose(command, resolve(CONFIGS[command]), overrides, config), CommandConfig
        )


@pytest.fixture
def guide(tmp_path, make_plugin, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Guide(tmp_path, make_plugin)


def test_configuration(guide):
    guide.follow(DOCS / "configuration.md")


def test_traces(guide):
    guide.follow(DOCS / "traces.md")


def test_debugging(guide):
    guide.follow(DOCS / "debugging.md")


@pytest.mark.slow
def test_training_and_evaluation(guide):
    guide.follow(DOCS / "training.md")
    guide.follow(DOCS / "evaluation.md")


@pytest.mark.slow
def test_the_plugin_tutorial(guide):
    guide.follow(DOCS / "plugins.md")


@pytest.mark.slow
def test_own_tracers_and_value_renderers(guide):
    guide.follow(DOCS / "guides" / "tracers-and-values.md")


@pytest.mark.slow
def test_own_parts_of_training(guide):
    guide.follow(DOCS / "guides" / "training-parts.md")


@pytest.mark.slow
def test_traces_of_functions(guide):
    guide.follow(DOCS / "guides" / "functions.md")


def test_serving(guide):
    guide.follow(DOCS / "serving.md")


def test_reinforcement_learning(guide):
    guide.follow(DOCS / "guides" / "rl.md")


def test_mutators(guide):
    guide.follow(DOCS / "guides" / "mutators.md")


def test_what_cannot_be_verified_has_no_block_that_would_be_run():
    assert {block.language for block in blocks(DOCS / "unverified.md")} <= {"text"}


@pytest.mark.parametrize(
    "readme", sorted(ROOT.glob("packages/*/README.md")), ids=lambda path: path.parent.name
)
def test_readmes(guide, readme):
    assert any(block.language in ("python", "console") for block in blocks(readme))
    guide.follow(readme)


def kinds_and_other_hooks() -> list[str]:
    hooks = [name for name in vars(hookspecs) if name.startswith("cwm_")]
    return [name.removeprefix("cwm_") for name in hooks]


def page_of(hook: str) -> Path:
    return COMPONENTS / ("lifecycle.md" if hook in LIFECYCLE else f"{hook}.md")


def test_there_is_a_page_per_hook_and_none_too_many():
    pages = {page_of(hook) for hook in kinds_and_other_hooks()}
    assert {path for path in COMPONENTS.glob("*.md") if path.name != "README.md"} == pages
    index = (COMPONENTS / "README.md").read_text()
    for page in pages:
        assert f"({page.name})" in index
    for hook in kinds_and_other_hooks():
        assert f"`cwm_{hook}`" in page_of(hook).read_text()


@pytest.mark.parametrize("kind", component_kinds())
def test_a_page_says_what_ships_and_how_it_is_built(kind):
    text = page_of(kind).read_text()
    shipped = {
        name: component.target
        for name, component in registry().components(kind).items()
        if registry().distribution(kind, name) in FIRST_PARTY
    }
    assert dict(ROW.findall(text)) == shipped
    built = re.search(r"\[(build\(.*)\]", inspect.getdoc(getattr(hookspecs, f"cwm_{kind}")))
    assert built and f"`{built[1]}`" in text
    if not shipped:
        assert "Nothing ships" in text


@pytest.mark.parametrize(
    "page", sorted(path for path in COMPONENTS.glob("*.md")), ids=lambda path: path.stem
)
def test_the_example_of_a_page_is_a_component(page, guide, make_plugin):
    for block in blocks(COMPONENTS / "README.md"):
        if block.file is not None:
            guide.do(block)
    files = [block for block in blocks(page) if block.file is not None]
    modules = {b.file.removesuffix(".py"): b.text for b in files if b.language == "python"}
    if modules:
        make_plugin("acme", modules, "acme_plugin")
        check_example(page, modules)
    guide.follow(page)


def check_example(page: Path, modules: dict[str, str]) -> None:
    found = declared("acme")
    assert not [plugin.problems for plugin in registry().broken()]
    if page.stem in component_kinds():
        assert page.stem in {kind for kind, _ in found}
    for kind, component in found:
        check_component(kind, component)
        assert issubclass(resolve(component.target), ComponentConfig)
    for text in modules.values():
        ast.parse(text)
