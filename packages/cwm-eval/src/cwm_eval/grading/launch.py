"""The bubblewrap command line of a warm server.

It differs from that of `cwm_core.sandbox`: the server itself keeps the capabilities with which it
puts every job into namespaces of its own, and gives the job none of them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

INSIDE = Path(__file__).parent / "inside"
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
_FILES = ("/etc/alternatives", "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d")
_CAPABILITIES = ("SYS_ADMIN", "SETUID", "SETGID", "SETPCAP", "KILL", "SYS_RESOURCE")
_START = (
    "import sys; sys.path.insert(0, '/grading'); from inside import zygote; "
    "zygote.main({lane}, {uid})"
)


def command_line(lane: int, uid: int | None, packages: Sequence[Path]) -> list[str]:
    """Return the command that starts a server; `uid` is what jobs run as when we are root."""
    line = ["bwrap", "--unshare-all", "--new-session", "--die-with-parent", "--clearenv"]
    if uid is None:
        line += ["--unshare-user", "--uid", "1000", "--gid", "1000"]
    else:  # root: without a user namespace, the limit on processes holds for jobs
        line.remove("--unshare-all")
        line += [f"--unshare-{name}" for name in ("ipc", "pid", "net", "uts", "cgroup-try")]
    for name in _CAPABILITIES:
        line += ["--cap-add", f"CAP_{name}"]
    for path in [Path(name) for name in (*_SYSTEM, *_FILES) if Path(name).exists()]:
        line += _mount(path)
    prefix = Path(sys.base_prefix)
    shown = [] if prefix.is_relative_to("/usr") else [prefix]
    for path in [*shown, *packages]:
        line += [*_parents(path), "--ro-bind", str(path), str(path)]
    line += ["--dir", "/grading", "--ro-bind", str(INSIDE), "/grading/inside"]
    line += ["--dev", "/dev", "--dir", "/tmp", "--dir", "/workspace"]
    line += ["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/workspace"]
    environment = {"PATH": "/usr/bin:/bin", "HOME": "/workspace", "LANG": "C.UTF-8"}
    fixed = {"PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    for name, value in {**environment, **fixed}.items():
        line += ["--setenv", name, value]
    start = _START.format(lane=lane, uid=uid)
    return [*line, "--", str(_interpreter()), "-s", "-P", "-S", "-c", start]


def job_uid() -> int | None:
    """Return a user id for the jobs of one server, which nothing else has; None without root."""
    if os.geteuid() != 0:
        return None
    return 1_800_000_000 + int.from_bytes(os.urandom(3))


def _interpreter() -> Path:
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    found = Path(sys.base_prefix) / "bin" / name
    return found if found.exists() else Path(sys.executable).resolve()


def _mount(path: Path) -> list[str]:
    if path.is_symlink():
        return ["--symlink", str(path.readlink()), str(path)]
    return [*_parents(path), "--ro-bind", str(path), str(path)]


def _parents(path: Path) -> list[str]:
    """Make the directories above a mount; those that bubblewrap makes itself are closed."""
    parents = [str(parent) for parent in reversed(path.parents) if str(parent) != "/"]
    return [word for parent in parents for word in ("--dir", parent)]
