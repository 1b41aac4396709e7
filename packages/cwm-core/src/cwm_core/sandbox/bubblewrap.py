"""The bubblewrap command line, and whether it works on this machine."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from cwm_core.sandbox.config import LocalSandboxConfig

WORKSPACE = "/workspace"
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
_FILES = ("/etc/alternatives", "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d")


def command_line(
    config: LocalSandboxConfig,
    workspace: Path,
    tmp: Path,
    uid: int,
    cwd: str,
    env: Mapping[str, str],
    *,
    grouped: bool = False,
) -> list[str]:
    """Return the arguments in front of a command that isolate and limit it.

    As root no user namespace is made, since the kernel exempts root's from the limit on processes;
    the command runs as `uid`, which nothing else has, without any capability.
    """
    line = ["bwrap", "--new-session", "--die-with-parent", "--clearenv", *_namespaces()]
    line += [word for path in _system_paths() for word in _mount(path)]
    line += ["--proc", "/proc", "--dev", "/dev"]
    size = ["--perms", "1777", "--size", str(config.tmp_bytes), "--tmpfs"]
    line += [*size, "/dev/shm", "--remount-ro", "/dev"]
    shown = [*_python_paths(config), *config.read_only]
    # Never mount inside a directory that the sandbox can plant links in.
    below_tmp = any(path.is_relative_to("/tmp") for path in shown)
    line += [*size, "/tmp"] if below_tmp else ["--bind", str(tmp), "/tmp"]
    for path in shown:
        line += [*_parents(path), "--ro-bind", str(path), str(path)]
    line += ["--bind", str(workspace), WORKSPACE, "--remount-ro", "/"]
    line += ["--chdir", str(PurePosixPath(WORKSPACE) / cwd), "--hostname", "sandbox"]
    for name, value in {**environment(config), **config.env, **env}.items():
        line += ["--setenv", name, value]
    return [*line, "--", *_identity(uid), *limits(config, grouped=grouped)]


def environment(config: LocalSandboxConfig) -> dict[str, str]:
    """Return the environment that every command starts with."""
    path = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"
    if config.python:
        path = f"{Path(sys.base_prefix) / 'bin'}:{path}"
    return {"PATH": path, "HOME": WORKSPACE, "LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"}


def limits(config: LocalSandboxConfig, *, grouped: bool = False) -> list[str]:
    """Return the arguments in front of a command that limit its resources.

    Memory and processes are not limited where a control group does that, for all together.
    """
    whole = [] if grouped else [f"--as={config.memory_bytes}", f"--nproc={config.processes}"]
    return [
        "prlimit",
        f"--cpu={config.cpu_s}",
        *whole,
        f"--fsize={config.file_bytes}",
        f"--nofile={config.open_files}",
        "--core=0",
        "--",
    ]


@functools.cache
def why_not() -> str | None:
    """Return why bubblewrap cannot isolate here, None when it can."""
    for program in ("bwrap", "prlimit", *(("setpriv",) if os.geteuid() == 0 else ())):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    config = LocalSandboxConfig()
    line = command_line(config, Path("/usr"), Path("/usr"), free_uid(), ".", {})
    try:
        probe = subprocess.run([*line, "true"], capture_output=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if probe.returncode == 0:
        return None
    return probe.stderr.decode("utf-8", "replace").strip() or f"it exits with {probe.returncode}"


def free_uid() -> int:
    """Return a user id that nothing else is likely to have."""
    return 1_900_000_000 + int.from_bytes(os.urandom(3))


def _namespaces() -> list[str]:
    if os.geteuid() != 0:
        userns = ["--disable-userns"] if _knows_disable_userns() else []
        return ["--unshare-all", "--unshare-user", *userns, "--uid", "1000", "--gid", "1000"]
    names = ("ipc", "pid", "net", "uts", "cgroup-try")
    capabilities = ("SETUID", "SETGID", "SETPCAP")
    return [
        *[f"--unshare-{name}" for name in names],
        *[word for name in capabilities for word in ("--cap-add", f"CAP_{name}")],
    ]


def _identity(uid: int) -> list[str]:
    if os.geteuid() != 0:
        return []
    return [
        *["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "--no-new-privs"],
        *["--inh-caps=-all", "--ambient-caps=-all", "--bounding-set=-all", "--"],
    ]


@functools.cache
def _knows_disable_userns() -> bool:
    answer = subprocess.run(["bwrap", "--help"], capture_output=True, check=False)
    return b"--disable-userns" in answer.stdout + answer.stderr


def _system_paths() -> list[Path]:
    return [Path(name) for name in (*_SYSTEM, *_FILES) if Path(name).exists()]


def _python_paths(config: LocalSandboxConfig) -> list[Path]:
    prefix = Path(sys.base_prefix)
    return [] if not config.python or prefix.is_relative_to("/usr") else [prefix]


def _mount(path: Path) -> list[str]:
    if path.is_symlink():
        return ["--symlink", str(path.readlink()), str(path)]
    return [*_parents(path), "--ro-bind", str(path), str(path)]


def _parents(path: Path) -> list[str]:
    """Make the directories above a mount; those that bubblewrap makes itself are closed."""
    parents = [str(parent) for parent in reversed(path.parents) if str(parent) != "/"]
    return [word for parent in parents for word in ("--dir", parent)]
