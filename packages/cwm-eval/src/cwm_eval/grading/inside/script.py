"""The untrusted side for whole programs: standard input in, standard output out."""

from __future__ import annotations

import os
import random
import socket
import sys

from . import wire
from .channel import receive


def prepare() -> None:
    """Make the objects of the standard streams, once for all programs; `_connect` fills them.

    They are made of what a program will have there, a file to read and a pipe to write to.
    """
    null = os.open("/dev/null", os.O_RDWR)
    own = [os.dup(fd) for fd in (0, 1, 2)]
    ends = [os.memfd_create("stdin"), *os.pipe()]
    for source, target in ((ends[0], 0), (ends[2], 1), (null, 2)):
        os.dup2(source, target)
    sys.stdin = open(0, encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    for target, source in enumerate(own):
        os.dup2(source, target)
    for fd in (null, *own, *ends):
        os.close(fd)


def main(fds: list[int]) -> None:
    """Run a program: descriptors of the job and of its standard output."""
    control = socket.socket(fileno=fds[0])
    job = wire.loads(receive(control))
    control.close()
    _connect(job["stdin"].encode("utf-8", "surrogatepass"), fds[1])
    names = {"__name__": "__main__", "__builtins__": __builtins__}
    module = type(sys)("__main__")
    module.__dict__.update(names)
    sys.modules["__main__"] = module
    sys.argv = ["solution.py"]
    random.seed(0)  # a fork has seeded it anew
    code = 0
    try:
        exec(compile(job["code"], "solution.py", "exec"), module.__dict__)
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        code = 1
    try:
        sys.stdout.flush()
    finally:
        os._exit(code & 0xFF)


def _connect(stdin: bytes, stdout: int) -> None:
    """Make the standard streams those of a program that was just started."""
    given = os.memfd_create("stdin")
    while stdin:
        stdin = stdin[os.write(given, stdin) :]
    os.lseek(given, 0, os.SEEK_SET)
    null = os.open("/dev/null", os.O_RDWR)
    for source, target in ((given, 0), (stdout, 1), (null, 2)):
        os.dup2(source, target)
    for fd in (given, stdout, null):
        os.close(fd)
    sys.setrecursionlimit(50_000)
