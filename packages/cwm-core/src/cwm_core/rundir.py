"""Run directories: what a long command writes, and how it is continued.

::

    config.yaml     the resolved configuration        metrics.jsonl   one object per line
    status.json     state, pid, times                 log.txt         log messages
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import time
import traceback
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from cwm_core.atomic import atomic_write, disk_errors
from cwm_core.config.base import CommandConfig
from cwm_core.config.yaml_files import parse_yaml, read_yaml, to_yaml
from cwm_core.errors import ConfigError, DataError
from cwm_core.plugins import registry
from cwm_core.runlock import RunLock

_log = logging.getLogger(__name__)
_OWN_FILES = {".lock", "config.yaml", "status.json", "log.txt"}


@runtime_checkable
class MetricLogger(Protocol):
    """Where metrics go besides metrics.jsonl; what components of kind "loggers" build."""

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Record the metrics of one step."""
        ...

    def close(self) -> None:
        """Flush and free what the logger holds."""
        ...


class RunDir:
    """An open run directory; made by `open_run`."""

    def __init__(self, path: Path, command: str, config: CommandConfig, resumed: bool) -> None:
        self.path = path
        """The directory."""
        self.command = command
        self.resumed = resumed
        """Whether an earlier process has worked here."""
        self.is_done = False
        """Whether the run had finished before: nothing is left to do."""
        self._config = config
        self._loggers: list[MetricLogger] = []

    @property
    def metrics_path(self) -> Path:
        """Where `log_metrics` writes."""
        return self.path / "metrics.jsonl"

    def log(self, text: str) -> None:
        """Write a line to log.txt and to the terminal."""
        _log.info(text)
        from cwm_core.progress import say

        say(text)

    def log_metrics(self, step: int, metrics: Mapping[str, float]) -> None:
        """Append one line ``{"step", "time", ...}`` to metrics.jsonl and tell all loggers.

        Values that are no finite number are written as JSON's NaN and Infinity extensions.
        """
        values = {key: float(value) for key, value in metrics.items()}
        line = json.dumps({"step": step, "time": round(time.time(), 3), **values})
        with disk_errors(self.metrics_path), self.metrics_path.open("a") as file:
            file.write(line + "\n")
        for logger in self._loggers:
            logger.log(step, values)
        registry().emit("metrics", run_dir=self.path, step=step, metrics=values)

    def rewind(self, step: int) -> None:
        """Forget metrics after `step`: a run that continues there will log them again."""
        kept = [entry for entry in read_metrics(self.metrics_path) if entry["step"] <= step]
        atomic_write(self.metrics_path, "".join(json.dumps(entry) + "\n" for entry in kept))

    def add_logger(self, logger: MetricLogger) -> None:
        """Send all further metrics to `logger`, too; it is closed with the run."""
        self._loggers.append(logger)

    def _set_state(self, state: str, **more: Any) -> None:
        old = read_status(self.path)
        status = {
            "state": state,
            "command": self.command,
            "pid": os.getpid(),
            "started": old.get("started") or _now(),
            "finished": None,
            "starts": old.get("starts", 0) + (state == "running"),
            "error": None,
            **more,
        }
        atomic_write(self.path / "status.json", json.dumps(status, indent=2) + "\n")


@contextlib.contextmanager
def open_run(out: Path, command: str, config: CommandConfig) -> Iterator[RunDir]:
    """Create or continue the run directory `out`; the state follows how the block ends.

    A normal end is ``done``; Ctrl-C and SIGTERM are ``stopped``, any other exception ``failed``,
    and both continue at the next start. Components in a slot named ``loggers`` are built and fed.

    Raises ConfigError when `out` was made with another configuration (unless nothing was made: a
    mistake in the first one can be mended), RunError when another process works there or the disk
    refuses.
    """
    out = Path(out)
    with disk_errors(out):
        out.mkdir(parents=True, exist_ok=True)
    with RunLock(out):
        run = _prepare(out, command, config)
        if run.is_done:
            yield run
            return
        run._set_state("running")
        with _log_file(out / "log.txt"):
            yield from _work(run)


def read_status(path: Path) -> dict[str, Any]:
    """Return the content of a run directory's status.json; empty when there is none.

    A process that was killed leaves ``running`` behind; the lock of the directory tells.
    """
    try:
        status = json.loads((path / "status.json").read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return {}
    return status if isinstance(status, dict) else {}


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a metrics.jsonl; a half-written last line is left out.

    Raises DataError for damage anywhere else.
    """
    if not path.exists():
        return []
    lines = path.read_text(errors="replace").splitlines()
    entries = []
    for number, line in enumerate(lines, start=1):
        try:
            entries.append(json.loads(line))
        except json.JSONDecodeError as error:
            if number == len(lines):
                break
            raise DataError(f"'{path}' line {number} is damaged: {error.msg}") from error
    return entries


def _prepare(out: Path, command: str, config: CommandConfig) -> RunDir:
    saved = out / "config.yaml"
    resumed = saved.exists()
    text = to_yaml(config)
    changed = _changes(saved, text) if resumed else {}
    refused = {
        key: pair for key, pair in changed.items() if key.split(".")[0] not in config.may_change
    }
    if refused and not _made_nothing(out):
        raise _changed_error(out, refused)
    run = RunDir(out, command, config, resumed)
    run.is_done = read_status(out).get("state") == "done" and _only_out(changed)
    if not run.is_done:
        atomic_write(saved, text)
        _drop_half_line(run.metrics_path)
    return run


def _work(run: RunDir) -> Iterator[RunDir]:
    values = run._config.model_dump(mode="json")
    try:
        for component in getattr(run._config, "loggers", ()):
            run.add_logger(component.build(run.path))
        registry().emit("run_started", run_dir=run.path, command=run.command, config=values)
        yield run
    except BaseException as error:
        stopped = isinstance(error, (KeyboardInterrupt, GeneratorExit))
        _finish(run, "stopped" if stopped else "failed", error)
        raise
    _finish(run, "done", None)


def _finish(run: RunDir, state: str, error: BaseException | None) -> None:
    if error is not None and state == "failed":
        _write_traceback(run.path / "log.txt", error)
    for logger in run._loggers:
        logger.close()
    reason = f"{type(error).__name__}: {error}" if state == "failed" else None
    try:
        run._set_state(state, finished=_now(), error=reason)
    except Exception:
        if error is None:
            raise
        _log.exception("status.json could not be written")  # the first error matters more
    registry().emit("run_finished", run_dir=run.path, status=state)


def _write_traceback(path: Path, error: BaseException) -> None:
    """Keep the traceback in the log file only: the terminal gets one message from the shell."""
    with contextlib.suppress(OSError), path.open("a", encoding="utf-8") as file:
        file.write(f"{_now()} failed\n{''.join(traceback.format_exception(error))}")


def _made_nothing(out: Path) -> bool:
    """Whether a run failed before it made anything: then it may be configured anew."""
    made = {path.name for path in out.iterdir()} - _OWN_FILES
    return read_status(out).get("state") == "failed" and not made


def _changes(saved: Path, text: str) -> dict[str, tuple[Any, Any]]:
    old, new = _flat(read_yaml(saved)), _flat(parse_yaml(text, "the new configuration"))
    missing = "(not set)"
    return {
        key: (old.get(key, missing), new.get(key, missing))
        for key in sorted(old.keys() | new.keys())
        if old.get(key, missing) != new.get(key, missing)
    }


def _flat(data: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(data, Mapping) or not data:
        return {prefix: data}
    flat: dict[str, Any] = {}
    for key, value in data.items():
        flat |= _flat(value, f"{prefix}.{key}" if prefix else str(key))
    return flat


def _changed_error(out: Path, refused: Mapping[str, tuple[Any, Any]]) -> ConfigError:
    shown = [f"{key}: {old} -> {new}" for key, (old, new) in list(refused.items())[:10]]
    more = f" and {len(refused) - 10} more" if len(refused) > 10 else ""
    return ConfigError(
        f"'{out}' was made with another configuration; changed: {'; '.join(shown)}{more}",
        "give the old values to continue it, or another out= to start afresh",
    )


def _only_out(changed: Mapping[str, Any]) -> bool:
    return all(key == "out" for key in changed)


def _drop_half_line(path: Path) -> None:
    """Cut what a killed process left after the last newline."""
    if not path.is_file():
        return
    with disk_errors(path):
        data = path.read_bytes()
        if data and not data.endswith(b"\n"):
            atomic_write(path, data[: data.rfind(b"\n") + 1])


@contextlib.contextmanager
def _log_file(path: Path) -> Iterator[None]:
    """Send our INFO messages and everybody's warnings to a file while the block runs."""
    with disk_errors(path):
        handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    handler.addFilter(lambda record: record.levelno >= logging.WARNING or _is_own(record.name))
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(min(level or logging.INFO, logging.INFO))
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
        handler.close()


def _is_own(name: str) -> bool:
    return name.startswith(("cwm", "__main__"))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
