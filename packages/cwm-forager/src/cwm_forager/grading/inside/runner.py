# ruff: noqa
# mypy: ignore-errors
"""Runs tests in child processes and reports their outcomes to the trusted side.

It is read from the command line, not from a file, and gets its orders on standard input. It never
imports what is tested. Only it knows the nonce that marks the report; being undumpable, its memory
and descriptors are closed to other processes of the same user, who could at most kill it, and then
there is no report. A child proves each outcome with a key of its own.
"""

import ast
import ctypes
import hashlib
import hmac
import json
import os
import random
import selectors
import signal
import site
import subprocess
import sys
import sysconfig
import tempfile
import time

PR_SET_DUMPABLE = 4
KEPT_OUTPUT = 20000


def main():
    undumpable = close_memory()
    orders = json.loads(sys.stdin.buffer.read().decode("utf-8"))
    sys.stdin.close()
    os.chdir(orders["root"])
    orders["scratch"] = tempfile.mkdtemp()
    orders["environment"]["HOME"] = orders["scratch"]
    guarded = Guarded(orders)
    report = {"python": sys.version.split()[0], "undumpable": undumpable, "tampering": []}
    outcomes = report["outcomes"] = run(orders, orders["tests"], guarded, report)
    if orders["control"] and all(outcomes.get(t) == "passed" for t in orders["control_if"]):
        report["control"] = control(orders, guarded, report)
    line = orders["nonce"] + " " + json.dumps(report)
    sys.stdout.write("\n" + line + "\n")
    sys.stdout.flush()


def close_memory():
    """Return whether other processes of this user are kept from this one's memory and pipes."""
    try:
        return ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0
    except (OSError, AttributeError):
        return False


class Guarded:
    """Files that no test may change: the interpreter, its libraries, tests and configuration.

    ``st_ctime_ns`` cannot be set back by a process without privileges, so that a change that was
    undone shows too.
    """

    def __init__(self, orders):
        self.root = orders["root"]
        self.names = set(orders["guarded_names"])
        self.files = [os.path.join(self.root, name) for name in orders["guarded_files"]]
        prefix = os.path.join(self.root, "")
        outside = [
            path for path in orders["paths"] if not os.path.join(path, "").startswith(prefix)
        ]
        self.tops = library_roots(outside)
        self.state = self.look()

    def look(self):
        state = {}
        for path in [os.path.realpath(sys.executable), *self.files]:
            state[path] = stamp(path)
        for top in self.tops:
            look_below(top, state)
        for folder, names, files in os.walk(self.root):
            names[:] = [name for name in names if name not in (".git", "__pycache__")]
            for name in self.names.intersection(files):
                path = os.path.join(folder, name)
                state[path] = stamp(path)
        return state

    def accept(self, names):
        """Take files of the repository as they are now."""
        for name in names:
            path = os.path.join(self.root, name)
            self.state[path] = stamp(path)

    def changes(self):
        """Return what changed since the last look."""
        now = self.look()
        paths = set(now) | set(self.state)
        changed = sorted(path for path in paths if now.get(path) != self.state.get(path))
        self.state = now
        return changed


def look_below(folder, state):
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            if entry.name != "__pycache__":
                look_below(entry.path, state)
        elif entry.name.endswith((".py", ".pth", ".so", ".zip")):
            state[entry.path] = stamped(entry.stat(follow_symlinks=False))


def stamp(path):
    try:
        return stamped(os.lstat(path))
    except OSError:
        return None


def stamped(found):
    return (found.st_ino, found.st_size, found.st_ctime_ns, found.st_mode)


def library_roots(outside):
    """Return the directories of libraries that could be written at all."""
    paths = sysconfig.get_paths()
    found = [paths[key] for key in ("stdlib", "platstdlib", "purelib", "platlib")] + outside
    found += site.getsitepackages() if hasattr(site, "getsitepackages") else []
    real = sorted({os.path.realpath(path) for path in found if os.path.isdir(path)})
    real = [path for path in real if not os.statvfs(path).f_flag & os.ST_RDONLY]
    return [p for p in real if not any(p != q and p.startswith(q + os.sep) for q in real)]


def run(orders, tests, guarded, report):
    """Run tests in one child and return the outcomes that it proved."""
    key = os.urandom(32).hex()
    config_read, config_write = os.pipe()
    result_read, result_write = os.pipe()
    output = os.path.join(orders["scratch"], "output")
    command = [
        sys.executable,
        "-I",
        "-B",
        "-c",
        orders["child"],
        str(config_read),
        str(result_write),
    ]
    with open(output, "w+b") as stream:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            env=dict(os.environ, **orders["environment"]),
            pass_fds=(config_read, result_write),
            start_new_session=True,
        )
        os.close(config_read)
        os.close(result_write)
        config = {
            name: orders[name]
            for name in ("root", "args", "paths", "scratch", "fail_fast", "guarded_files")
        }
        with os.fdopen(config_write, "wb") as pipe:
            pipe.write(json.dumps(dict(config, key=key, tests=tests)).encode())
        lines, timed_out = collect(child, result_read, orders["deadline"])
        stream.seek(max(0, stream.seek(0, 2) - KEPT_OUTPUT))
        report["output"] = stream.read().decode("utf-8", "backslashreplace")
    report.setdefault("exit_codes", []).append(child.returncode)
    if timed_out:
        report["timed_out"] = True
    outcomes = proven(lines, key, report)
    changed = guarded.changes()
    if changed:
        report["tampering"].append("changed while tests ran: " + ", ".join(changed[:5]))
    return outcomes


def collect(child, fd, deadline):
    """Read the child's reports until it ends or the time is up, then end all of its session."""
    data, timed_out = bytearray(), False
    end = time.monotonic() + deadline
    selector = selectors.DefaultSelector()
    selector.register(fd, selectors.EVENT_READ)
    while True:
        left = end - time.monotonic()
        if left <= 0 or len(data) > 64 << 20:
            timed_out = True
            break
        if selector.select(min(left, 0.2)):
            chunk = os.read(fd, 1 << 16)
            if not chunk:
                break
            data += chunk
        elif child.poll() is not None:
            break
    if not timed_out:
        try:
            child.wait(max(0.1, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            timed_out = True
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass
    child.wait()
    os.close(fd)
    return bytes(data).split(b"\n"), timed_out


def proven(lines, key, report):
    """Return the outcomes of lines with the right key, in the right order, each test once."""
    outcomes, number, finished = {}, 0, False
    for line in lines:
        if not line:
            continue
        mac, _, body = line.partition(b" ")
        right = hmac.new(key.encode(), body, hashlib.sha256).hexdigest().encode()
        if not hmac.compare_digest(mac, right):
            report["tampering"].append("a forged report line")
            continue
        entry = json.loads(body.decode("utf-8"))
        if entry["number"] != number or finished:
            report["tampering"].append("report lines out of order")
        number = entry["number"] + 1
        finished = "finished" in entry
        if entry.get("changed"):
            report["tampering"].append("test machinery changed: " + ", ".join(entry["changed"][:5]))
        if "always_equal" in entry:
            report["tampering"].append("equal to everything: " + entry["always_equal"])
        if "test" in entry:
            if entry["test"] in outcomes:
                report["tampering"].append("a test reported twice")
            outcomes[entry["test"]] = entry["outcome"]
    if not finished:
        report["unfinished"] = True
    return outcomes


def control(orders, guarded, report):
    """Run the failing tests again with bodies that must fail; return the outcomes.

    A test that still passes shows that something other than the tests decides.
    """
    files = {}
    for test in orders["control"]:
        files.setdefault(test.split("::")[0], set()).add(test.split("::")[-1].partition("[")[0])
    failing = set()
    for name, functions in files.items():
        failing |= {(name, function) for function in spoil(name, functions)}
    tests = [
        test
        for test in orders["control"]
        if (test.split("::")[0], test.split("::")[-1].partition("[")[0]) in failing
    ]
    guarded.accept(files)
    if not tests:
        return {}
    outcomes = run(dict(orders, fail_fast=False), tests, guarded, report)
    return {test: outcomes.get(test, "missing") for test in tests}


def spoil(name, functions):
    """Rewrite the functions of a test file so that they fail at their end; return which."""
    try:
        with open(name, encoding="utf-8") as file:
            tree = ast.parse(file.read())
    except (OSError, SyntaxError, ValueError):
        return set()
    spoiler = Spoiler(functions)
    tree = ast.fix_missing_locations(spoiler.visit(tree))
    if not hasattr(ast, "unparse"):
        return set()
    try:
        with open(name, "w", encoding="utf-8") as file:
            file.write(ast.unparse(tree))
    except OSError:
        return set()
    return spoiler.done


class Spoiler(ast.NodeTransformer):
    """Puts each function's body into ``try: ... finally: assert X == Y`` and probes operands."""

    def __init__(self, functions):
        self.functions = functions
        self.done = set()

    def visit_FunctionDef(self, node):
        if node.name not in self.functions:
            return self.generic_visit(node)
        self.done.add(node.name)
        left = random.randrange(100)
        failing = ast.parse("assert %d == %d" % (left, left + random.randrange(1, 100))).body
        body = [Prober().visit(statement) for statement in node.body]
        node.body = [ast.Try(body=body, handlers=[], orelse=[], finalbody=failing)]
        return node

    visit_AsyncFunctionDef = visit_FunctionDef


class Prober(ast.NodeTransformer):
    """Shows the operands of compared values to a function that returns them as they are."""

    def visit_Assert(self, node):
        for compare in ast.walk(node.test):
            if isinstance(compare, ast.Compare):
                compare.left = probed(compare.left)
                compare.comparators = [probed(each) for each in compare.comparators]
        return node

    def visit_Call(self, node):
        self.generic_visit(node)
        name = getattr(node.func, "attr", "")
        if name.startswith("assert") and not any(isinstance(a, ast.Starred) for a in node.args):
            node.args = [probed(each) for each in node.args]
        return node


def probed(node):
    return ast.Call(func=ast.Name("__cwm_probe__", ast.Load()), args=[node], keywords=[])


main()
