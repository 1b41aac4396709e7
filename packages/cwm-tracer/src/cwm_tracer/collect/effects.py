"""What a program reaches for outside itself, judged by its syntax tree without running it."""

from __future__ import annotations

import ast
import sys
from collections.abc import Collection, Iterator

_FILES = "files"
_PROCESSES = "processes and the system"
_NETWORK = "the network"
_CLOCK = "the clock"
_CHANCE = "chance"
_THREADS = "threads and tasks"
_CODE = "code made at run time"
_TERMINAL = "the terminal"
_INSIDES = "the interpreter's insides"
_GUI = "windows"

_MODULES: dict[str, str] = {
    **dict.fromkeys(
        ("io", "glob", "shutil", "tempfile", "fileinput", "pathlib", "zipfile", "tarfile"), _FILES
    ),
    **dict.fromkeys(
        ("gzip", "bz2", "lzma", "sqlite3", "dbm", "shelve", "mmap", "linecache"), _FILES
    ),
    **dict.fromkeys(("os", "subprocess", "signal", "pty", "resource", "platform"), _PROCESSES),
    **dict.fromkeys(("multiprocessing", "getpass", "pwd", "ctypes", "atexit"), _PROCESSES),
    **dict.fromkeys(("socket", "ssl", "http", "urllib", "ftplib", "smtplib", "select"), _NETWORK),
    **dict.fromkeys(("selectors", "socketserver", "xmlrpc", "webbrowser", "imaplib"), _NETWORK),
    **dict.fromkeys(("time", "sched", "timeit"), _CLOCK),
    **dict.fromkeys(("random", "secrets"), _CHANCE),
    **dict.fromkeys(("threading", "asyncio", "concurrent", "queue", "_thread"), _THREADS),
    **dict.fromkeys(("importlib", "runpy", "code", "codeop", "pkgutil"), _CODE),
    **dict.fromkeys(("curses", "readline", "cmd", "argparse", "optparse", "tty"), _TERMINAL),
    **dict.fromkeys(("gc", "inspect", "dis", "traceback", "tracemalloc", "pdb"), _INSIDES),
    **dict.fromkeys(("sys", "faulthandler", "unittest", "doctest"), _INSIDES),
    **dict.fromkeys(("tkinter", "turtle", "idlelib"), _GUI),
}
"""Modules of the standard library that a traced function should not use, and why."""

_NAMES: dict[str, str | None] = {
    **dict.fromkeys(
        (
            *("os.path.join", "os.path.basename", "os.path.dirname", "os.path.split", "os.sep"),
            *("os.path.splitext", "os.path.normpath", "os.path.isabs", "os.path.commonprefix"),
            *("os.fspath", "os.PathLike", "os.linesep", "sys.maxsize", "sys.float_info"),
            *("sys.maxunicode", "sys.byteorder", "sys.version_info", "sys.intern", "sys.hash_info"),
            *("sys.getrecursionlimit", "sys.setrecursionlimit", "io.StringIO", "io.BytesIO"),
            *("pathlib.PurePath", "pathlib.PurePosixPath", "pathlib.PureWindowsPath"),
            *("urllib.parse", "http.HTTPStatus", "random.Random", "os.path", "time.struct_time"),
            "inspect.cleandoc",
        )
    ),
    **dict.fromkeys(
        (
            *("os.path.exists", "os.path.isfile", "os.path.isdir", "os.path.abspath"),
            *("os.path.realpath", "os.path.expanduser", "os.path.getsize", "os.path.getmtime"),
        ),
        _FILES,
    ),
    **dict.fromkeys(
        (
            *("datetime.datetime.now", "datetime.datetime.today", "datetime.datetime.utcnow"),
            *("datetime.date.today", "uuid.uuid1"),
        ),
        _CLOCK,
    ),
    **dict.fromkeys(("uuid.uuid4", "sys.settrace", "sys.setprofile"), _CHANCE),
}
"""Exceptions to `_MODULES`, the longest match counts; None: harmless."""

_BUILTINS = {
    "open": _FILES,
    "input": _TERMINAL,
    "breakpoint": _TERMINAL,
    "exec": _CODE,
    "eval": _CODE,
    "compile": _CODE,
    "__import__": _CODE,
    "exit": _PROCESSES,
    "quit": _PROCESSES,
}


def side_effect(tree: ast.Module) -> str | None:
    """Return what a program reaches for, such as ``files``; None if it keeps to itself."""
    bound = dict(_imported(tree))
    for node in ast.walk(tree):
        dotted = _dotted(node, bound)
        found = None if dotted is None else _rule(dotted)
        if found is not None:
            return found
        if isinstance(node, ast.Name) and node.id in _BUILTINS and node.id not in bound:
            return _BUILTINS[node.id]
    return None


def foreign_import(tree: ast.Module, allowed: Collection[str]) -> str | None:
    """Return the first module that is imported and neither standard nor `allowed`; "." if own.

    `allowed` are names of top-level packages. What only type checkers import does not count.
    """
    for node in _executed(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [each.name for each in node.names]
        elif isinstance(node, ast.ImportFrom):
            if node.level or node.module is None:
                return "."
            names = [node.module]
        for name in names:
            top = name.partition(".")[0]
            if top not in sys.stdlib_module_names and top not in allowed:
                return top
    return None


def has_star_import(tree: ast.Module) -> bool:
    """Whether names are imported without being named."""
    return any(
        isinstance(node, ast.ImportFrom) and any(each.name == "*" for each in node.names)
        for node in ast.walk(tree)
    )


def _executed(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield all nodes but those under ``if TYPE_CHECKING``."""
    stack: list[ast.AST] = [tree]
    while stack:
        node = stack.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            stack += node.orelse
            continue
        yield node
        stack += list(ast.iter_child_nodes(node))[::-1]


def _imported(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield (name, what it stands for) of everything that is imported anywhere."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for each in node.names:
                top = each.name.partition(".")[0]
                yield (each.asname, each.name) if each.asname else (top, top)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for each in node.names:
                yield each.asname or each.name, f"{node.module}.{each.name}"


def _dotted(node: ast.AST, bound: dict[str, str]) -> str | None:
    """Return the full name of what a name or attribute stands for, if that is imported."""
    if isinstance(node, ast.Name):
        return bound.get(node.id)
    if isinstance(node, ast.Attribute):
        base = _dotted(node.value, bound)
        return None if base is None else f"{base}.{node.attr}"
    return None


def _rule(dotted: str) -> str | None:
    """Return the objection to a dotted name; a bare module is judged by what is taken of it."""
    parts = dotted.split(".")
    for size in range(len(parts), 1, -1):
        prefix = ".".join(parts[:size])
        if prefix in _NAMES:
            return _NAMES[prefix]
    return _MODULES.get(parts[0]) if len(parts) > 1 else None
