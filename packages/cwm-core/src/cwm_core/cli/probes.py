"""Probes of the machine for `cwm doctor`: metadata, files and short subprocesses only.

Nothing heavy is imported here: torch, say, is asked in a process of its own.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from cwm_core.cores import usable_cores

PROBE_TIMEOUT_S = 60.0
_TORCH = """
import torch
cuda = torch.cuda.is_available()
devices = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] if cuda else []
mps = torch.backends.mps.is_available()
print(", ".join(devices) or ("Apple GPU (mps)" if mps else ""))
"""


@dataclass(frozen=True, slots=True)
class Finding:
    """One row: what was looked for, whether it is there, what it is good for."""

    name: str
    found: bool
    detail: str
    enables: str
    get_it: str


def probe_all() -> list[Finding]:
    """Run all probes; a probe that fails reports its subject as missing."""
    return [*_machine(), *_torch(), *_packages(), *_programs(), *_of_plugins()]


def _machine() -> list[Finding]:
    import psutil

    memory, disk = psutil.virtual_memory(), shutil.disk_usage(Path.cwd())
    gib = 2**30
    ram = f"{memory.total / gib:.1f} GiB, {memory.available / gib:.1f} GiB available"
    free = f"{disk.free / gib:.1f} GiB free in {Path.cwd()}"
    python = f"{platform.python_version()} ({sys.executable})"
    return [
        Finding("Python", True, python, "everything", "Python 3.11 or newer"),
        Finding("CPU cores", True, str(usable_cores()), "tracing in parallel, fast training", "-"),
        Finding("Memory", memory.total > 4 * gib, ram, "cwm quickstart needs 4 GiB", "-"),
        Finding("Disk", disk.free > gib, free, "traces and checkpoints", "free some space"),
        _cpu_features(),
    ]


def _cpu_features() -> Finding:
    wanted = {
        "avx2": "AVX2",
        "avx512f": "AVX-512",
        "avx512_bf16": "AVX-512 bf16",
        "amx_tile": "AMX",
        "amx_bf16": "AMX bf16",
        "asimd": "NEON",
        "bf16": "ARM bf16",
    }
    flags = _cpu_flags()
    found = [label for flag, label in wanted.items() if flag in flags]
    enables = "fast matrix products; bf16 training on the CPU with AMX or AVX-512 bf16"
    return Finding("CPU features", bool(found), ", ".join(found), enables, "a newer CPU")


def _cpu_flags() -> set[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        features = _output(["sysctl", "-n", "machdep.cpu.features", "machdep.cpu.leaf7_features"])
        names = set(features.lower().split())
        return names | ({"asimd"} if platform.machine() == "arm64" else set())
    words = (line.partition(":")[2].split() for line in lines if line.startswith(("flags", "Feat")))
    return set(next(words, []))


def _torch() -> list[Finding]:
    version = _version("torch")
    enables, get_it = "training, generation, evaluation", "pip install cwm-train"
    findings = [Finding("torch", version is not None, version or "", enables, get_it)]
    device = _output([sys.executable, "-c", _TORCH]) if version else ""
    findings.append(Finding("GPU", bool(device), device, "models beyond cwm_mini", "a GPU"))
    return findings


def _packages() -> list[Finding]:
    rows = [
        ("flash-attn", "cwm train attention=flash (NVIDIA GPUs)", "cwm-train[flash-attn]"),
        ("ray", "executor=ray: cwm trace on a cluster", "cwm-core[ray]"),
        ("openai", "engine=openai: models behind a server", "cwm-core[openai]"),
    ]
    return [
        Finding(name, (found := _version(name)) is not None, found or "", enables, _pip(extra))
        for name, enables, extra in rows
    ]


def _programs() -> list[Finding]:
    return [
        _program(
            "C compiler", _c_compiler, "cwm train compile=true, attention=flex", "apt install gcc"
        ),
        _program("bubblewrap", _command("bwrap"), "the sandbox `local`", "apt install bubblewrap"),
        _program("uv", _command("uv"), "a checkout with the locked versions", "pip install uv"),
    ]


def _of_plugins() -> list[Finding]:
    """What the installed packages look for themselves; a probe that raises reports that."""
    from cwm_core.plugins import registry, resolve

    findings = []
    for target, plugin in registry().probes():
        try:
            findings.append(resolve(target)())
        except Exception as error:
            detail = f"{target} raised {type(error).__name__}: {error}"
            findings.append(Finding(plugin.distribution, False, detail, "-", "report it there"))
    return findings


def _pip(requirement: str) -> str:
    return f"pip install '{requirement}'"


def _program(name: str, probe: Callable[[], str], enables: str, get_it: str) -> Finding:
    detail = probe()
    return Finding(name, bool(detail), detail, enables, get_it)


def _command(name: str) -> Callable[[], str]:
    return lambda: _first_line(_output([name, "--version"])) if shutil.which(name) else ""


def _c_compiler() -> str:
    names = [os.environ.get("CC", ""), "cc", "gcc", "clang"]
    found = next((name for name in names if name and shutil.which(name)), None)
    return _first_line(_output([found, "--version"])) if found else ""


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _output(command: list[str], timeout_s: float = PROBE_TIMEOUT_S) -> str:
    """Return what a command prints; empty when it is absent, fails or takes too long."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _first_line(text: str) -> str:
    return text.splitlines()[0] if text else ""
