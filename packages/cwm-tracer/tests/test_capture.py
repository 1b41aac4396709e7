"""Events of recorded executions: what `sys.settrace` reports, the same on every Python."""

# ruff: noqa: E501 (programs on one line)

import ast
import json
import sys
import textwrap

import pytest

from cwm_core.trace.frames import Event
from cwm_tracer import trace
from cwm_tracer.programs.program import Program


def steps(record):
    """(depth, event, line, state or value) per frame; suspensions as yield and resume."""
    labels = {Event.RETURN: "yield", Event.CALL: "resume"}
    return [
        (
            frame.depth,
            labels[frame.event] if frame.suspended else frame.event.value,
            frame.line_number,
            frame.value if frame.locals is None else dict(frame.locals),
        )
        for frame in record.frames
    ]


def lines(record):
    return [(frame.event.value, frame.line_number) for frame in record.frames]


def test_a_line_frame_shows_the_state_before_its_line(record):
    found = record(
        """\
        def g(n):
            return n + 1

        def f(a, b=2):
            c = g(a)
            del b
            b = c
            return b
        """,
        "1",
    )
    assert steps(found) == [
        (0, "call", 4, {"a": "1", "b": "2"}),
        (0, "line", 5, {"a": "1", "b": "2"}),
        (1, "call", 1, {"n": "1"}),
        (1, "line", 2, {"n": "1"}),
        (1, "return", 2, "2"),
        (0, "line", 6, {"a": "1", "b": "2", "c": "2"}),
        (0, "line", 7, {"a": "1", "c": "2"}),
        (0, "line", 8, {"a": "1", "c": "2", "b": "2"}),
        (0, "return", 8, "2"),
    ]
    assert list(found.frames[-2].locals) == ["a", "c", "b"]  # in the order of binding
    assert found.outcome == "returned" and found.trace.complete and found.reason == ""
    assert found.frames[0].source == "def f(a, b=2):\n"
    assert found.frames[2].function == "g"
    assert found.events == len(found.frames)
    assert found.python == ".".join(map(str, sys.version_info[:3]))


def test_recursion_has_depths(record):
    found = record("def f(n):\n    return n if n < 2 else f(n - 1) + f(n - 2)\n", "4")
    assert found.frames[-1].value == "3"
    assert [frame.depth for frame in found.frames if frame.event is Event.CALL] == [
        0, 1, 2, 3, 3, 2, 1, 2, 2,
    ]  # fmt: skip


def test_comprehensions_are_single_steps(record):
    found = record(
        """\
        def g(x):
            return x

        def f(a):
            b = [g(x) for x in a]
            c = {
                x: [y for y in b]
                for x in a
                if x
            }
            for i in a: d = {x for x in a}
            return [
                x for x in b
            ]
        """,
        "[1, 2]",
    )
    assert lines(found) == [
        ("call", 4),
        ("line", 5),
        ("call", 1),
        ("line", 2),
        ("return", 2),
        ("call", 1),
        ("line", 2),
        ("return", 2),
        ("line", 6),
        ("line", 11),
        ("line", 11),
        ("line", 11),
        ("line", 12),
        ("return", 12),
    ]
    assert list(found.frames[-2].locals) == ["a", "b", "c", "i", "d"]
    assert found.frames[2].depth == 1


def test_generators_yield_and_resume(record):
    found = record(
        """\
        def g(n):
            x = yield n
            return x

        def f():
            it = g(1)
            a = next(it)
            try:
                it.send(5)
            except StopIteration as stop:
                a = stop.value
            return a
        """
    )
    assert [step for step in steps(found) if step[0] == 1] == [
        (1, "call", 1, {"n": "1"}),
        (1, "line", 2, {"n": "1"}),
        (1, "yield", 2, "1"),
        (1, "resume", 2, {"n": "1"}),
        (1, "line", 3, {"n": "1", "x": "5"}),
        (1, "return", 3, "5"),
    ]
    assert ("exception", 9) in lines(found)
    assert found.frames[-1].value == "5"


def test_generator_expressions_have_frames(record):
    found = record("def f(a):\n    return sum(\n        x\n        for x in a)\n", "[3]")
    inner = [step for step in steps(found) if step[0] == 1]
    assert [step[1:3] for step in inner] == [
        ("call", 2),
        ("line", 2),
        ("yield", 2),
        ("resume", 2),
        ("line", 2),
        ("return", 2),
    ]
    assert lines(found)[:2] == [("call", 1), ("line", 2)]


def test_exceptions_unwind_frame_by_frame(record):
    found = record(
        """\
        class Problem(Exception):
            pass

        def g():
            try:
                raise Problem("deep", 1)
            finally:
                x = 1

        def f():
            g()
        """
    )
    assert steps(found) == [
        (0, "call", 10, {}),
        (0, "line", 11, {}),
        (1, "call", 4, {}),
        (1, "line", 5, {}),
        (1, "line", 6, {}),
        (1, "exception", 6, "Problem('deep', 1)"),
        (1, "line", 8, {}),
        (1, "return", found.frames[7].line_number, "None"),
        (0, "exception", 11, "Problem('deep', 1)"),
        (0, "return", 11, "None"),
    ]
    assert found.outcome == "raised" and found.reason == "Problem('deep', 1)"
    assert found.trace.complete


def test_an_exception_that_is_handled_does_not_end_the_trace(record):
    found = record(
        "def f():\n    try:\n        1 / 0\n    except ZeroDivisionError:\n        return 7\n"
    )
    assert found.outcome == "returned"
    assert ("exception", 3) in lines(found)
    assert found.frames[-1].value == "7"


def test_a_statement_over_several_lines_is_one_step(record):
    found = record(
        """\
        def g(a, b):
            return a

        def f(
            a,
            b=1,
        ):
            x = g(
                a,
                b,
            )
            while (x
                   < 3):
                x += (
                    1
                )
            return (
                x)
        """,
        "1",
    )
    own = [(f.event.value, f.line_number) for f in found.frames if f.depth == 0]
    assert own == [
        ("call", 4),
        ("line", 8),
        ("line", 12),
        ("line", 14),
        ("line", 12),
        ("line", 14),
        ("line", 12),
        ("line", 17),
        ("return", 17),
    ]
    assert found.frames[0].source == "def f(\n"
    assert "def f(  # << START_OF_TRACE\n" in found.context
    ast.parse(found.context)


def test_with_and_finally(record):
    found = record(
        """\
        class C:
            def __enter__(self):
                return self
            def __exit__(self, *error):
                return True

        def f():
            with C() as c:
                raise ValueError("x")
            return c
        """
    )
    functions = [frame.function for frame in found.frames if frame.event is Event.CALL]
    assert functions == ["f", "C.__enter__", "C.__exit__"]
    assert found.frames[-1].value == "<C object #1>"
    assert found.outcome == "returned"


def test_classes_closures_lambdas_and_decorators(record):
    found = record(
        """\
        import functools

        def twice(function):
            @functools.wraps(function)
            def inner(*args):
                return function(*args) * 2
            return inner

        def f(n):
            class Box:
                size = 1
                def __init__(self, item):
                    self.item = item

            @twice
            def g(x):
                return x + n

            box = Box(n)
            key = lambda x: -x
            return sorted([g(1), 2], key=key), box
        """,
        "3",
    )
    functions = [frame.function for frame in found.frames if frame.event is Event.CALL]
    assert functions == [
        "f",
        "f.<locals>.Box",
        "twice",
        "f.<locals>.Box.__init__",
        "twice.<locals>.inner",
        "f.<locals>.g",
        "f.<locals>.<lambda>",
        "f.<locals>.<lambda>",
    ]
    body = [frame for frame in found.frames if frame.function == "f.<locals>.Box"]
    assert [dict(frame.locals or {}) for frame in body][:3] == [{}, {}, {"size": "1"}] or [
        dict(frame.locals or {}) for frame in body
    ][:4] == [{}, {}, {}, {"size": "1"}]
    g = next(frame for frame in found.frames if frame.function == "f.<locals>.g")
    assert dict(g.locals) == {"x": "1", "n": "3"}
    assert g.source == "    def g(x):\n"
    assert found.frames[-1].value == "([8, 2], Box(item=3))"


def test_async_functions(record):
    found = record(
        """\
        import asyncio

        async def g(x):
            await asyncio.sleep(0)
            return x

        async def main():
            return await g(1) + await g(2)

        def f():
            return asyncio.run(main())
        """
    )
    assert found.frames[-1].value == "3" and found.outcome == "returned"
    # Both coroutines of the stack are left and entered again at each of the two awaits.
    labels = [step[1] for step in steps(found) if step[1] in ("yield", "resume")]
    assert labels == ["yield", "yield", "resume", "resume"] * 2


def test_a_generator_that_is_closed_or_thrown_into_is_left_for_good(record):
    found = record(
        """\
        def g():
            try:
                yield 1
            except KeyError:
                yield 2
            yield 3

        def f():
            a, b = g(), g()
            next(a), next(b)
            b.throw(KeyError("k"))
            a.close()
            b.close()
        """
    )
    inner = [step[1:] for step in steps(found) if step[0] == 1]
    assert [step[::2] for step in inner if step[0] == "exception"] == [
        ("exception", "KeyError('k')"),
        ("exception", "GeneratorExit()"),
        ("exception", "GeneratorExit()"),
    ]
    assert [step[0] for step in inner if step[0] in ("yield", "return")] == [
        "yield", "yield", "yield", "return", "return",
    ]  # fmt: skip


def test_an_entry_that_is_a_generator_or_coroutine_is_run_to_its_end(record):
    assert record("def f():\n    yield 1\n    yield 2\n    return 3\n").frames[-1].value == "3"
    assert record("async def f(x):\n    return x\n", "4").frames[-1].value == "4"


def test_only_the_program_is_recorded(record):
    found = record(
        "import json, textwrap\ndef f():\n    return json.loads(textwrap.dedent(' [1]'))\n"
    )
    assert {frame.function for frame in found.frames} == {"f"}


def test_a_decorated_entry_begins_at_its_own_call(record):
    found = record(
        """\
        def log(function):
            def inner(*args):
                return function(*args)
            return inner

        @log
        def f(x):
            return x
        """,
        "1",
    )
    assert lines(found) == [("call", 7), ("line", 8), ("return", 8)]
    assert "def f(x):  # << START_OF_TRACE\n" in found.context


@pytest.mark.parametrize(
    ("source", "entry"),
    [
        ("class S:\n    def f(self, x):\n        return x\n", "S.f"),
        ("class S:\n    @staticmethod\n    def f(x):\n        return x\n", "S.f"),
        ("class S:\n    @classmethod\n    def f(cls, x):\n        return x\n", "S.f"),
        ("f = lambda x: x\n", "f"),
        ("if True:\n    def f(x): return x\n", "f"),
    ],
)
def test_entries_of_other_kinds(record, source, entry):
    found = record(source, "5", entry)
    assert found.outcome == "returned"
    assert found.frames[-1].value == "5"
    marked = [line for line in found.context.split("\n") if line.endswith("  # << START_OF_TRACE")]
    assert len(marked) == 1 and "f" in marked[0]


def test_line_ends_and_odd_separators(record):
    found = record("def f():\r\n    x = 'a\x0cb\u2028c'\r\n    return x\r\n")
    assert [frame.source for frame in found.frames][1] == "    x = 'a\x0cb\u2028c'\n"
    assert found.frames[-1].value == repr("a\x0cb\u2028c")


def test_inputs_are_argument_lists_of_the_programs_own(record):
    found = record(
        "class P:\n    def __init__(self, x):\n        self.x = x\ndef f(p, *, k):\n    return p, k\n",
        "P(1), k=[2]",
    )
    assert found.frames[-1].value == "(P(x=1), [2])"


def test_mutations_are_seen_and_nothing_else_is_new(record):
    found = record(
        """\
        def f(rows):
            rows[0].append(1)
            rows[0].append(True)
            rows[0][1] = 1
            rows[0][0] = 1.0
            rows.append(rows[0])
            rows[0].clear()
            x = [1.5, 'a']
            x.append('b]')
            x.append('c')
            x.append([])
            x[4:] = [{2: 3}]
            x[4][2] = 4
            return rows, x
        """,
        "[[]]",
    )
    states = [frame.locals["rows"] for frame in found.frames if frame.locals]
    assert states == [
        "[[]]",
        "[[]]",
        "[[1]]",
        "[[1, True]]",
        "[[1, 1]]",
        "[[1.0, 1]]",
        "[[1.0, 1], [1.0, 1]]",
        *["[[], []]"] * 7,
    ]
    assert [
        frame.locals["x"] for frame in found.frames if frame.locals and "x" in frame.locals
    ] == [
        "[1.5, 'a']",
        "[1.5, 'a', 'b]']",
        "[1.5, 'a', 'b]', 'c']",
        "[1.5, 'a', 'b]', 'c', []]",
        "[1.5, 'a', 'b]', 'c', {2: 3}]",
        "[1.5, 'a', 'b]', 'c', {2: 4}]",
    ]


def test_output_is_kept(record):
    found = record("import sys\ndef f():\n    print('a', end='')\n    sys.stdout.write('é\\n')\n")
    assert found.stdout == "aé\n"


def test_two_recordings_are_the_same(record):
    source = "import random\ndef f():\n    return {str(i) for i in range(9)}, random.random(), object()\n"
    assert steps(record(source)) == steps(record(source))


def test_own_repr_is_not_called_while_an_object_is_half_built():
    source = textwrap.dedent(
        """\
        class P:
            def __init__(self):
                self.x = 1
                self.y = 2
            def __repr__(self):
                return f"<{self.x} {self.y}>"
        def f():
            p = P()
            return p
        """
    )
    found = trace(source, call_repr=True)
    assert [f.locals["self"] for f in found.frames if f.locals and "self" in f.locals] == [
        "<P object #1>",
        "<P object #1>",
        "P(x=1)",
    ]
    assert found.frames[-1].value == "<1 2>"


def test_spawned_interpreters_record_the_same(record):
    source = "def f(a):\n    print(a)\n    return [x for x in a]\n"
    forked = record(source, "[1]")
    spawned = trace(source, input="[1]", fork=False)
    assert steps(forked) == steps(spawned)
    assert spawned.stdout == "[1]\n"


def a_function(x, y=1):
    total = x + y
    return total  # noqa: RET504


def test_a_callable_of_a_module():
    found = trace(a_function, input="2, y=3")
    assert found.frames[-1].value == "5"
    assert found.frames[0].source == "def a_function(x, y=1):\n"


PROGRAMS = [
    "def f(n):\n    t = 0\n    for i in range(n):\n        if i % 2:\n            t += i\n    return t\n",
    "def f(n):\n    def g(k):\n        yield from range(k)\n    return list(g(n))\n",
    "def f(n):\n    d = {}\n    while n:\n        d[n] = str(n)\n        n -= 1\n    return d\n",
    "def f(n):\n    try:\n        return f(n - 1) if n else 1 / n\n    except ZeroDivisionError:\n        raise\n",
]


@pytest.mark.parametrize("source", PROGRAMS)
def test_no_event_is_lost(record, source):
    """Events are those that a bare trace function counts, in the same order."""
    seen = []

    def count(frame, event, arg):
        if frame.f_code.co_filename != "<bare>":
            return None
        seen.append((event, frame.f_lineno))
        return count

    namespace = {}
    exec(compile(source, "<bare>", "exec"), namespace)
    before = sys.gettrace()
    sys.settrace(count)
    try:
        namespace["f"](4)
    except ZeroDivisionError:
        pass
    finally:
        sys.settrace(before)
    assert lines(record(source, "4")) == seen


def test_cruxeval_programs_return_what_the_data_set_says(tracer, shared_data):
    rows = [json.loads(line) for line in (shared_data / "cruxeval.jsonl").open()]
    for row in rows[::8]:
        program = Program(row["id"], row["code"], "f", (row["input"],))
        found = tracer.record(program, row["input"])
        assert found.outcome == "returned", (row["id"], found.reason)
        value = found.frames[-1].value
        assert ast.literal_eval(value) == ast.literal_eval(row["output"]), row["id"]
