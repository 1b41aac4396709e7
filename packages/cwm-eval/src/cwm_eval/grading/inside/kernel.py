"""System calls that Python has no function for (or not in every version)."""

from __future__ import annotations

import ctypes
import errno
import os
from typing import Any

NEWNS, NEWUTS, NEWIPC, NEWPID = 0x00020000, 0x04000000, 0x08000000, 0x20000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_REMOUNT, MS_BIND = 1, 2, 4, 32, 4096
MS_REC, MS_PRIVATE = 16384, 1 << 18
_PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _PR_CAP_AMBIENT = 24, 38, 22, 47
_PR_CAPBSET_READ, _PR_CAP_AMBIENT_CLEAR_ALL = 23, 4
_SECCOMP_MODE_FILTER, _CAP_VERSION_3 = 2, 0x20080522

libc = ctypes.CDLL(None, use_errno=True)
# Made once: in a fork, every object that is made or looked at costs copies of pages.
libc.prctl.argtypes = [ctypes.c_int, *[ctypes.c_ulong] * 4]
libc.mount.argtypes = [*[ctypes.c_char_p] * 3, ctypes.c_ulong, ctypes.c_char_p]
_HEADER, _NO_SETS = (ctypes.c_uint32 * 2)(_CAP_VERSION_3, 0), (ctypes.c_uint32 * 6)()


def call(name: str, *arguments: Any) -> int:
    """Call a function of the C library; raises OSError when it fails."""
    result = getattr(libc, name)(*arguments)
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return int(result)


def unshare(flags: int) -> None:
    """Move this process (its next children, for NEWPID) into new namespaces."""
    call("unshare", flags)


def setns(fd: int, flags: int) -> None:
    """Join the namespaces of a process descriptor."""
    call("setns", fd, flags)


def mount(source: str, target: str, kind: str = "", flags: int = 0, options: str = "") -> None:
    """Mount a file system."""
    words = [word.encode() or None for word in (source, target, kind)]
    call("mount", *words, flags, options.encode() or None)


class _Part(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


def is_exiting(pid: int) -> bool:
    """Whether a child is on its way out: its memory is gone, though it cannot be waited for yet.

    Its descriptors close after its memory went, so whoever saw them close gets True.
    """
    byte = ctypes.create_string_buffer(1)
    here, there = _Part(ctypes.addressof(byte), 1), _Part(8, 1)  # nothing is at address 8
    try:
        call("process_vm_readv", pid, ctypes.byref(here), 1, ctypes.byref(there), 1, 0)
    except OSError as error:
        return error.errno == errno.ESRCH
    return False


def prctl(option: int, *arguments: int) -> int:
    """Change something about this process."""
    return call("prctl", option, *(*arguments, 0, 0, 0, 0)[:4])


def bound_capabilities() -> None:
    """Let nothing that this process executes have a capability; needs SETPCAP."""
    for capability in _BOUNDING:
        prctl(_PR_CAPBSET_DROP, capability)


def give_up_capabilities() -> None:
    """Leave this process without any capability."""
    prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    call("capset", _HEADER, _NO_SETS)


def no_new_privileges() -> None:
    """Setuid programs and file capabilities have no effect from here on."""
    prctl(_PR_SET_NO_NEW_PRIVS, 1)


def _bounding() -> list[int]:
    """Return the capabilities that programs executed from here could have."""
    return [n for n in range(64) if libc.prctl(_PR_CAPBSET_READ, n, 0, 0, 0) == 1]


_BOUNDING = _bounding()


class Filter(ctypes.Structure):
    """A seccomp filter, 8 bytes per instruction."""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))

    def __init__(self, instructions: bytes) -> None:
        self._kept = ctypes.create_string_buffer(instructions, len(instructions))
        super().__init__(len(instructions) // 8, ctypes.addressof(self._kept))

    def install(self) -> None:
        """Install it in this process, from where it can never be removed."""
        prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.addressof(self))
