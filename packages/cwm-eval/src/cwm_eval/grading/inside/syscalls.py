"""The seccomp filter: system calls that no solution of a programming task needs.

Everything that makes namespaces or mounts, looks into other processes, loads code into the kernel
or speaks to anything but Unix sockets of its own. The list closes doors that the other layers
(namespaces, no capabilities, a user of its own) keep shut already.
"""

from __future__ import annotations

import errno
import platform
import struct

_X86, _ARM = "x86_64", "aarch64"
_AUDIT = {_X86: 0xC000003E, _ARM: 0xC00000B7}
_DENIED: dict[str, tuple[int | None, int | None]] = {
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "kcmp": (312, 272),
    "pidfd_getfd": (438, 438),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "unshare": (272, 97),
    "setns": (308, 268),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "reboot": (169, 142),
    "acct": (163, 89),
    "quotactl": (179, 60),
    "syslog": (103, 116),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "clock_adjtime": (305, 266),
    "adjtimex": (159, 171),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "iopl": (172, None),
    "ioperm": (173, None),
    "modify_ldt": (154, None),
    "personality": (135, 92),
    "vhangup": (153, 58),
}
_SOCKET, _CLONE, _CLONE3, _IOCTL = (41, 198), (56, 220), (435, 435), (16, 29)
_AF_UNIX, _NAMESPACE_FLAGS = 1, 0x7E020000
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C

_LOAD, _EQUAL, _ANY_BIT, _RETURN = 0x20, 0x15, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _FIRST, _SECOND = 0, 4, 16, 24
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000


def filter_program(machine: str | None = None) -> bytes:
    """Return the filter for a machine; empty where none is known."""
    machine = machine or platform.machine()
    if machine not in _AUDIT:
        return b""
    column = 0 if machine == _X86 else 1
    refuse = _ret(_ERRNO | errno.EPERM)
    program = [_op(_LOAD, _ARCHITECTURE), _jump(_EQUAL, _AUDIT[machine], 1, 0), _ret(_KILL)]
    program.append(_op(_LOAD, _NUMBER))
    if machine == _X86:  # the x32 numbers would go around the list
        program += [_jump(_ANY_BIT, 0x40000000, 0, 1), _ret(_KILL)]
    for numbers in _DENIED.values():
        if (number := numbers[column]) is not None:
            program += [_jump(_EQUAL, number, 0, 1), refuse]
    program += [_jump(_EQUAL, _CLONE3[column], 0, 1), _ret(_ERRNO | errno.ENOSYS)]
    program += _argument(_SOCKET[column], _FIRST, [_jump(_EQUAL, _AF_UNIX, 1, 0), refuse])
    program += _argument(_CLONE[column], _FIRST, [_jump(_ANY_BIT, _NAMESPACE_FLAGS, 0, 1), refuse])
    terminal = [_jump(_EQUAL, _TIOCSTI, 1, 0), _jump(_EQUAL, _TIOCLINUX, 0, 1), refuse]
    program += _argument(_IOCTL[column], _SECOND, terminal)
    return b"".join([*program, _ret(_ALLOW)])


def _argument(number: int, offset: int, check: list[bytes]) -> list[bytes]:
    """Check the low half of an argument of one system call, then allow it."""
    body = [_op(_LOAD, offset), *check, _ret(_ALLOW)]
    return [_jump(_EQUAL, number, 0, len(body)), *body]


def _op(code: int, value: int) -> bytes:
    return struct.pack("=HBBI", code, 0, 0, value)


def _jump(code: int, value: int, if_true: int, if_false: int) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)


def _ret(value: int) -> bytes:
    return _op(_RETURN, value)
