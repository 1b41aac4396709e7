# ruff: noqa: E501 - a line per attack
"""Attacks of untrusted code on its sandbox: what is tried, and how it must end.

An attack says TRIED when it begins and ESCAPED where it got what it must not get.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

End = Literal["exit", "time", "disk", "any"]


@dataclass(frozen=True, slots=True)
class Attack:
    """Code of Python, or of a shell; `end`: how it ends, where it must end in one way.

    HOST_* stand for what the suite knows of this machine, TOKEN for a number of this attack.
    """

    name: str
    code: str
    end: End = "any"
    language: Literal["python", "shell"] = "python"
    timeout_s: float = 20.0


def shell(name: str, code: str, end: End = "any", timeout_s: float = 20.0) -> Attack:
    """Return an attack by a shell."""
    return Attack(name, f"echo TRIED; {code}", end, "shell", timeout_s)


def python(name: str, code: str, end: End = "any", timeout_s: float = 20.0) -> Attack:
    """Return an attack by Python."""
    return Attack(name, f"print('TRIED', flush=True)\n{code}", end, "python", timeout_s)


def attempt(name: str, code: str) -> Attack:
    """Return an attack whose last line must fail with an exception, or exit, to be harmless."""
    return python(name, f"import ctypes, os, socket\n{code}\nprint('ESCAPED')", "exit")


LIBC = "libc = ctypes.CDLL(None, use_errno=True)\n"
CHECK = "assert {call} == 0, os.strerror(ctypes.get_errno())"


def syscall(name: str, call: str) -> Attack:
    """Return an attack by one function of libc, which must not return 0."""
    return attempt(name, LIBC + CHECK.format(call=call))


RESOURCES = [
    shell("fork-bomb", "f() { f | f & }; f; sleep 60.TOKEN", "time", 2),
    python("fork-bomb-python", "import os\nwhile 1:\n try: os.fork()\n except OSError: 0", "time", 2),
    python(
        "thread-bomb",
        "import threading, time\nn = 0\ntry:\n"
        " while n < 2000:\n  threading.Thread(target=time.sleep, args=(9,), daemon=True).start()\n"
        "  n += 1\n print('ESCAPED')\nexcept RuntimeError: pass\nimport os; os._exit(0)",
        "exit",
    ),
    python("memory", "b = bytearray()\nwhile len(b) < 400 << 20: b += b'x' * (1 << 20)\nprint('ESCAPED')"),
    python(
        "memory-mapped",
        "import mmap\nm = mmap.mmap(-1, 400 << 20)\n"
        "for i in range(0, len(m), 4096): m[i] = 1\nprint('ESCAPED')",
    ),
    python(
        "memory-of-many",
        "import os, time\nfor i in range(8):\n if not os.fork():\n"
        "  b = b'x' * (50 << 20); open(f'/tmp/{i}', 'w'); time.sleep(9)\n"
        "time.sleep(3)\nprint('ESCAPED' if len(os.listdir('/tmp')) > 7 else '')",
    ),
    shell("shared-memory", "head -c 400000000 /dev/zero > /dev/shm/x && echo ESCAPED; rm -f /dev/shm/x"),
    shell(
        "disk",
        "i=0; while :; do i=$((i+1)); head -c 8000000 /dev/zero > big$i; done",
        "disk",
        60,
    ),
    python("files", "i = 0\nwhile 1:\n open(f'small{i}', 'w').close(); i += 1", "disk", 60),
    python("sparse-file", "open('sparse', 'wb').truncate(1 << 40)\nprint('ESCAPED')"),
    shell("output", "yes", "time", 1),
    shell("errors", "yes >&2", "time", 1),
    shell("one-line", "tr '\\0' x < /dev/zero", "time", 1),
    shell("both-streams", "yes & yes >&2", "time", 1),
    python(
        "descriptors",
        "import os\nn = 0\ntry:\n while n < 5000: os.dup(0); n += 1\n print('ESCAPED')\nexcept OSError: pass",
        "exit",
    ),
    python("huge-integer", "print(len(str(9 ** 9 ** 9)))", "time", 1),
    python("regex", "import re; re.match('(a+)+$', 'a' * 60 + 'b')", "time", 1),
    python(
        "recursion",
        "import sys; sys.setrecursionlimit(10 ** 9)\nf = lambda *a: [f(*a, 1)] and f()\nf()",
    ),
    shell("core-dump", "ulimit -c unlimited; sh -c 'kill -SEGV $$'; ls core* && echo ESCAPED"),
    shell("bytes", "printf '\\377\\376\\0\\033]0;x\\007'", "exit"),
    shell("deep-directories", "for i in $(seq 300); do mkdir d; cd d; done", "exit", 60),
    python(
        "pipes",
        "import os, fcntl\nn = 0\ntry:\n while 1:\n  r, w = os.pipe(); os.set_blocking(w, False)\n"
        "  fcntl.fcntl(w, 1031, 1 << 20)\n  os.write(w, b'x' * (1 << 20))\nexcept OSError: pass",
    ),
    python("raise-limits", "import resource as r\nr.setrlimit(r.RLIMIT_NOFILE, (9999, 9999))\nprint('ESCAPED')"),
    python("nice", "import os; os.nice(-5); print('ESCAPED')", "exit"),
    python("real-time", "import os; os.sched_setscheduler(0, 1, os.sched_param(9)); print('ESCAPED')", "exit"),
]  # fmt: skip

DAEMON = "import os, time\nif os.fork(): os._exit(0)\nos.setsid()\nif os.fork(): os._exit(0)\n"
LIFETIME = [
    python(
        "signals-ignored",
        "import signal, time\nfor s in set(signal.Signals) - {9, 19}: signal.signal(s, 1)\n"
        "while 1: time.sleep(9)",
        "time",
        1,
    ),
    python("alarm-cancelled", "import signal\nwhile 1: signal.alarm(0)", "time", 1),
    python("exceptions-swallowed", "while 1:\n try:\n  while 1: pass\n except BaseException: pass", "time", 1),
    shell("daemon", "setsid sh -c 'trap \"\" TERM HUP; sleep 600.TOKEN & wait' >&- 2>&- <&- &"),
    python("double-fork", DAEMON + "time.sleep(600)  # TOKEN", "exit"),
    shell("held-pipe", "sleep 600.TOKEN &", "exit"),
    shell("stops-itself", "kill -STOP $$", "time", 1),
    python("stopped-daemon", DAEMON + "os.kill(os.getpid(), 19)  # TOKEN", "exit"),
    shell("kills-its-parent", "kill -9 $PPID; sleep 60.TOKEN", "any", 2),
    shell("kills-everything", "(sleep 600.TOKEN &); kill -9 -1"),
    shell("kills-the-first", "kill -9 1; kill -TERM 1; kill -STOP 1", "exit"),
    python(
        "respawns",
        DAEMON + "os.setpgrp()\nwhile 1:  # TOKEN\n pid = os.fork()\n"
        " if pid: os.waitpid(pid, 0)\n else: time.sleep(0.01)\n",
        "exit",
    ),
    python(
        "misleading-name",
        DAEMON + "import ctypes\nctypes.CDLL(None).prctl(15, b') R 1 1 1\\n')\ntime.sleep(600)  # TOKEN",
        "exit",
    ),
    python(
        "subreaper",
        "import ctypes\nctypes.CDLL(None).prctl(36, 1)\n" + DAEMON + "time.sleep(600)  # TOKEN",
        "exit",
    ),
    python("zombies", "import os, time\nfor _ in range(30):\n if not os.fork(): os._exit(0)\ntime.sleep(9)", "time", 1),
    shell("background-flood", "for i in $(seq 40); do nohup sleep 600.TOKEN >&- 2>&- & done"),
]  # fmt: skip

ESCAPE = [
    shell("environment", "cat /proc/*/environ /proc/*/task/*/environ | tr '\\0' '\\n' | grep HOST_SECRET && echo ESCAPED"),
    shell("other-processes", "cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep [p]ytest && echo ESCAPED"),
    shell("host-file", "cat HOST_FILE | grep HOST_SECRET && echo ESCAPED"),
    shell("root-of-others", "for p in /proc/[0-9]*; do cat $p/rootHOST_FILE $p/cwd/../../HOST_FILE; done | grep HOST_SECRET && echo ESCAPED"),
    shell("descriptors-of-others", "cat /proc/1/fd/[0-9]* < /dev/null | grep HOST_SECRET && echo ESCAPED", "any", 3),
    attempt("memory-of-the-first", "open('/proc/1/mem', 'rb')"),
    attempt("kernel-memory", "open('/proc/kcore', 'rb').read(9)"),
    attempt("devices", "names = ('mem', 'kmem', 'sda', 'vda', 'nvme0n1', 'kmsg')\nassert any(open(f'/dev/{n}', 'rb') for n in names if os.path.exists(f'/dev/{n}'))"),
    attempt("device-node", "os.mknod('/tmp/disk', 0o60666, os.makedev(254, 0)); open('/tmp/disk', 'rb')"),
    attempt("docker-socket", "s = socket.socket(socket.AF_UNIX)\ns.connect('/var/run/docker.sock')"),
    syscall("ptrace", "libc.ptrace(16, 1, 0, 0)"),
    syscall("mount", "libc.mount(b'none', b'/tmp', b'tmpfs', 0, None)"),
    syscall("remount", "libc.mount(None, b'/', None, 4128, None)"),
    syscall("namespace", "(libc.unshare(0x20000) or libc.mount(b'none', b'/tmp', b'tmpfs', 0, None))"),
    syscall("namespace-of-the-first", "libc.setns(os.open('/proc/1/ns/mnt', 0), 0)"),
    attempt("chroot", "os.chroot('/tmp')"),
    attempt("become-root", "os.setuid(0)"),
    attempt("own-for-another", "open('mine', 'w'); os.chown('mine', 0, 0)"),
    shell("gain-privileges", "grep -q 'NoNewPrivs:.1' /proc/self/status || echo ESCAPED; grep Cap...: /proc/self/status | grep -v Bnd | grep -vq 0000000000000000 && echo ESCAPED"),
    syscall("host-name", "libc.sethostname(b'x', 1)"),
    syscall("clock", "libc.settimeofday(ctypes.create_string_buffer(16), None)"),
    syscall("reboot", "libc.reboot(0)"),
    attempt("kernel-settings", "open('/proc/sys/kernel/core_pattern', 'w').write('|/tmp/x')"),
    shell("sysrq", "echo h > /proc/sysrq-trigger && echo ESCAPED"),
    shell("control-groups", "for f in $(find /sys/fs/cgroup -name '*max' -o -name '*limit_in_bytes' -o -name release_agent); do (echo 9999999999 > $f) && echo ESCAPED; done"),
    attempt("terminal-input", "import fcntl, glob\nfor t in ('/dev/tty', '/dev/console', *glob.glob('/dev/pts/[0-9]*')):\n try: fd = os.open(t, 2); break\n except OSError: pass\nelse: raise SystemExit\nfcntl.ioctl(fd, 0x5412, b'x')"),
    attempt("tcp", "socket.create_connection(('127.0.0.1', HOST_PORT), 3)"),
    attempt("udp", "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\ns.settimeout(1)\ns.sendto(b'x', ('127.0.0.1', HOST_PORT))\ns.recv(1)"),
    attempt("internet", "socket.create_connection(('192.0.2.1', 80), 3)"),
    attempt("metadata", "socket.create_connection(('169.254.169.254', 80), 3)"),
    attempt("names", "socket.getaddrinfo('example.org', 80)"),
    attempt("raw-socket", "socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)"),
    attempt("abstract-socket", "s = socket.socket(socket.AF_UNIX)\ns.connect('\\0HOST_SECRET')"),
    attempt("hard-link", "os.link('/bin/sh', 'sh'); open('sh', 'ab')"),
    attempt("system-files", "for p in ('/usr/bin/env', '/etc/passwd', '/bin/sh'): open(p, 'ab'); break"),
]  # fmt: skip
