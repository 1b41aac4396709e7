"""The supervisor: starts engines, orchestrator and trainer, and keeps them going."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Any

from cwm_core.errors import RunError
from cwm_core.progress import Progress as Bar
from cwm_core.progress import progress
from cwm_core.rundir import RunDir, read_metrics
from cwm_rl.board.beacon import Sign
from cwm_rl.board.files import Offer, RunFiles
from cwm_rl.processes.child import Child
from cwm_rl.processes.watchdog import hang_error
from cwm_rl.train_config import RlConfig
from cwm_rl.trainer.metrics import end_of_step, read_new_lines

TICK_S = 0.2
STOP_S = 60.0
"""How long a trainer may take to write its last checkpoint."""


class Supervisor:
    """Owns the run directory and all processes of a run; what they report passes through it."""

    def __init__(self, config: RlConfig, run: RunDir) -> None:
        self.config, self.run = config, run
        self.files = RunFiles(run.path)
        self.trainer = self._child("trainer", launcher=config.trainer.launcher)
        self.orchestrator = self._child("orchestrator")
        self.engines = [self._child("engine", index) for index in range(config.engines.count)]
        self._offset = 0
        self._step = -1
        self._seen: tuple[Any, ...] = ()
        self._progressed = time.monotonic()
        self._shown: dict[str, Any] = {}

    @property
    def _trainer_metrics(self) -> Path:
        return self.files.processes / "trainer.metrics.jsonl"

    @property
    def children(self) -> list[Child]:
        """All processes."""
        return [self.trainer, self.orchestrator, *self.engines]

    def work(self) -> None:
        """Run until trainer and orchestrator have finished.

        Raises RunError when a process gives up, dies too often, or nothing happens any more.
        """
        self._prepare()
        previous = _let_sigterm_interrupt()
        try:
            with progress(self.config.max_steps, "learning", "steps") as bar:
                for child in self.children:
                    child.start()
                while not (self.trainer.done and self.orchestrator.done):
                    time.sleep(TICK_S)
                    self._tick(bar)
                self._relay(bar)
            if reason := Offer.read(self.files.offer).end:
                self.run.log(f"the run is over: {reason}")
        finally:
            self._stop_all()
            if previous is not None:
                signal.signal(signal.SIGTERM, previous)
            self._relay(None)

    def _prepare(self) -> None:
        self.files.processes.mkdir(parents=True, exist_ok=True)
        # what was true of the processes before must not be taken for what is true now
        for said in (self.files.current, self.files.offer):
            said.unlink(missing_ok=True)
        # lines that a killed supervisor had no time to pass on are passed on now
        metrics = read_metrics(self.run.metrics_path)
        self._step = int(metrics[-1]["step"]) if metrics else -1
        self._offset = end_of_step(self._trainer_metrics, self._step)

    def _tick(self, bar: Bar) -> None:
        for child in self.children:
            self._look_after(child)
        self._relay(bar)
        self._watch(bar)

    def _look_after(self, child: Child) -> None:
        if child.done:
            return
        if child.process is None:
            if time.monotonic() >= child.not_before:
                child.start()
            return
        code = child.poll()
        if code == 0 and child in (self.trainer, self.orchestrator):
            child.done = True
            child.process = None
        elif code is not None:
            child.kill()  # what it left behind
            self._died(child, code)
        elif child.silent_s() > self.config.watchdog.silent_s:
            self.run.log(f"{child.name} has been silent for {child.silent_s():.0f} s: killed")
            child.kill()

    def _died(self, child: Child, code: int) -> None:
        if (error := child.error(code)) is not None:
            raise error
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        if child.restarts >= self.config.watchdog.restarts:
            raise RunError(
                f"{child.name} died {child.restarts + 1} times without progress in between, the "
                f"last time by {how}: {child.last_words()}",
                f"its output is in {self.files.processes / child.name}.txt",
            )
        self.run.log(f"{child.name} died ({how}) and is started again")
        child.schedule_restart()

    def _watch(self, bar: Bar) -> None:
        """Turn a hang into an error; show what goes on."""
        signs: dict[str, Sign | None] = {child.name: child.sign() for child in self.children}
        orchestrator = signs["orchestrator"]
        info = orchestrator.info if orchestrator is not None else {}
        seen = (self._step, info.get("tokens"), info.get("groups"))
        if seen != self._seen:
            self._seen, self._progressed = seen, time.monotonic()
            for child in self.children:
                sign = signs[child.name]
                if sign is not None and not sign.waits_for and time.time() - child.started > 5:
                    child.restarts = 0
        silent = time.monotonic() - self._progressed
        if silent > self.config.watchdog.hang_s:
            raise hang_error(signs, silent)
        shown = {"playing": info.get("playing", 0), "ready": info.get("ready", 0)}
        bar.set(max(self._step, 0), **{**self._shown, **shown})

    def _relay(self, bar: Bar | None) -> None:
        """Pass on what the trainer has measured; a trainer that went back to a checkpoint repeats
        steps, whose first lines are forgotten."""
        lines, self._offset = read_new_lines(self._trainer_metrics, self._offset)
        for line in lines:
            step = int(line.pop("step"))
            line.pop("time")
            if step <= self._step:
                self.run.rewind(step - 1)
            self._step = step
            self.run.log_metrics(step, line)
            names = ("return", "solved", "entropy", "staleness")
            self._shown = {name: line[name] for name in names if name in line}

    def _stop_all(self) -> None:
        for child in self.engines:
            child.stop(5.0)
        threads = [
            threading.Thread(target=child.stop, args=(STOP_S,))
            for child in (self.trainer, self.orchestrator)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _child(self, role: str, index: int | None = None, launcher: str = "") -> Child:
        name = role if index is None else f"{role}-{index}"
        return Child(name, role, index, self.files, launcher)


def _let_sigterm_interrupt() -> Any:
    """Let SIGTERM stop the run as Ctrl-C does; return the handler before."""
    if threading.current_thread() is not threading.main_thread():
        return None

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    return signal.signal(signal.SIGTERM, interrupt)


def train_in(config: RlConfig, run: RunDir) -> Path:
    """Train in an open run directory; return the directory of the final model."""
    Supervisor(config, run).work()
    return run.path / "model"
