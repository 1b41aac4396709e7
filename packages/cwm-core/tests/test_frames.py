import subprocess
import sys

from cwm_core.trace.frames import Event, Frame, Trace


def test_equality_is_what_the_wire_can_say():
    plain = Frame(Event.LINE, "x\n", {"a": "1"})
    placed = Frame(Event.LINE, "x\n", {"a": "1"}, line_number=3, depth=1, function="f")
    assert plain == placed
    assert Trace("", (plain,)) == Trace("", (placed,))
    assert Trace("", (plain,)) != Trace("", (plain,), complete=False)


def test_the_event_names_are_settraces():
    assert [str(event) for event in Event] == ["call", "line", "return", "exception"]


def test_the_trace_package_imports_nothing_heavy():
    code = (
        "import sys, cwm_core.trace.codec, cwm_core.trace.diff\n"
        "heavy = {'tokenizers', 'numpy', 'torch', 'transformers', 'pydantic'} & set(sys.modules)\n"
        "sys.exit(', '.join(heavy) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
