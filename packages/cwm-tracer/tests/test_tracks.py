"""Threads, tasks, what was printed, and other trace functions."""

from collections import Counter

import pytest

from cwm_core.data.records import TraceRecord

TASKS = """\
    import asyncio

    async def work(name, rounds):
        for _ in range(rounds):
            await asyncio.sleep(0)
        return name

    {kind} f():
        {body}

    async def main():
        return await asyncio.gather(work("a", 2), work("b", 1))
    """


def test_tasks_are_tracks_of_one_thread(record):
    found = record(TASKS.format(kind="def", body="return asyncio.run(main())"))
    assert found.outcome == "returned" and found.frames[-1].value == "['a', 'b']"
    tracks = {(frame.function, frame.track) for frame in found.frames}
    assert tracks == {("f", 0), ("main", 1), ("work", 2), ("work", 3)}
    assert {frame.thread for frame in found.frames} == {0}
    # They interleave: the second begins before the first ends.
    order = [frame.track for frame in found.frames if frame.function == "work"]
    assert order.index(3) < len(order) - 1 - order[::-1].index(2)
    assert found.trace.frames == found.frames


def test_the_track_of_an_asynchronous_entry_is_0(record):
    found = record(TASKS.format(kind="async def", body="return await main()"))
    tracks = {(frame.function, frame.track) for frame in found.frames}
    assert tracks == {("f", 0), ("main", 0), ("work", 1), ("work", 2)}


def test_many_short_tasks_have_numbers_of_their_own(record):
    found = record(
        """\
        import asyncio
        async def g():
            return 1
        async def f():
            for _ in range(20):
                await asyncio.create_task(g())
        """
    )
    calls = [frame.track for frame in found.frames if frame.function == "g" and frame.locals == {}]
    assert sorted(set(calls)) == list(range(1, 21))


THREADS = """\
    import threading

    def count(name, n):
        total = 0
        for i in range(n):
            total += i
        return total

    def f(n):
        threads = [threading.Thread(target=count, args=(k, n)) for k in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return count("me", 2)
    """


def test_threads_are_tracks_with_depths_of_their_own(record):
    found = record(THREADS, "150")
    assert (found.outcome, found.frames[-1].value) == ("returned", "1"), found.reason
    by_thread = {}
    for frame in found.frames:
        by_thread.setdefault(frame.thread, []).append(frame)
    assert set(by_thread) == {0, 1, 2, 3, 4}
    names = set()
    for thread in range(1, 5):
        frames = by_thread[thread]
        assert {(frame.function, frame.depth, frame.track) for frame in frames} == {
            ("count", 0, thread)
        }
        assert len(frames) == 1 + 1 + 2 * 150 + 1 + 1 + 1
        assert frames[-1].value == str(sum(range(150)))
        names.add(frames[0].locals["name"])
    assert names == {"0", "1", "2", "3"}
    assert [frame.depth for frame in by_thread[0] if frame.function == "count"] == [1] * 9
    # The wire shows what the entry's thread does.
    assert found.trace.frames == tuple(by_thread[0])
    assert TraceRecord.from_row(found.to_row()) == found
    again = TraceRecord.from_row(found.to_row())
    assert Counter(f.thread for f in again.frames) == Counter(f.thread for f in found.frames)


def test_an_exception_in_another_thread_is_not_the_entrys(record):
    found = record(
        """\
        import threading
        def g():
            raise KeyError(2)
        def f():
            try:
                1 / 0
            except ZeroDivisionError as error:
                thread = threading.Thread(target=g)
                thread.start()
                thread.join()
                raise
        """
    )
    assert (found.outcome, found.reason) == ("raised", "ZeroDivisionError('division by zero')")
    assert [f.value for f in found.frames if f.event == "exception" and f.thread] == ["KeyError(2)"]


def test_thread_pools_and_bare_threads(record):
    found = record(
        """\
        import _thread, time
        from concurrent.futures import ThreadPoolExecutor
        def g(x):
            return x * x
        def f():
            _thread.start_new_thread(g, (1,))
            with ThreadPoolExecutor(2) as pool:
                squares = list(pool.map(g, range(10)))
            try:
                _thread.start_new_thread(3, ())
            except TypeError as error:
                return squares, str(error)
        """
    )
    assert found.outcome == "returned", found.reason
    assert "[0, 1, 4, 9, 16, 25, 36, 49, 64, 81]" in found.frames[-1].value
    assert "callable" in found.frames[-1].value
    calls = [f for f in found.frames if f.function == "g" and f.event == "call"]
    assert len(calls) == 11 and all(f.thread for f in calls)


def test_what_was_printed_belongs_to_the_step_before(record):
    found = record(
        """\
        print("loading")
        def g():
            print("deep", end="")
        def f():
            x = 1
            print("ä", x)
            g()
            return x
        """
    )
    printed = {(f.line_number, f.event.value): f.stdout for f in found.frames if f.stdout}
    assert printed == {(6, "line"): "ä 1\n", (3, "line"): "deep"}
    assert found.stdout == "loading\nä 1\ndeep"
    again = TraceRecord.from_row(found.to_row())
    assert [f.stdout for f in again.frames] == [f.stdout for f in found.frames]


def test_what_threads_print_is_kept(record):
    found = record(
        """\
        import threading
        def f():
            print("first")
            thread = threading.Thread(target=print, args=("second",))
            thread.start()
            thread.join()
            print("third")
        """
    )
    assert found.stdout == "first\nsecond\nthird\n"


RESETS = {
    "another function": "sys.settrace(lambda *a: None)",
    "off and on again": "old = sys.gettrace(); sys.settrace(None); g(); sys.settrace(old)",
    "in threads": "threading.settrace(lambda *a: None); t = threading.Thread(target=g); "
    "t.start(); t.join()",
}


@pytest.mark.parametrize("reset", RESETS)
def test_a_program_that_changes_the_tracing_is_told_of(record, reset):
    source = f"import sys, threading\ndef g():\n    pass\ndef f():\n    {RESETS[reset]}\n"
    found = record(source)
    assert (found.outcome, "sys.settrace" in found.reason) == ("tracer_lost", True)


def test_a_trace_function_that_stays_as_it_is_does_no_harm(record):
    found = record("import sys\ndef f():\n    sys.settrace(sys.gettrace())\n    return 1\n")
    assert (found.outcome, found.frames[-1].value) == ("returned", "1")


def test_a_debugger_that_runs_already_is_a_reason(record):
    source = "import sys\nsys.settrace(lambda *a: None)\ndef f():\n    return 1\n"
    found = record(source)
    assert (found.outcome, "coverage" in found.reason) == ("tracer_lost", True)
    assert record("import sys\nsys.settrace(None)\ndef f():\n    return 1\n").outcome == "returned"


def test_profilers_are_left_alone(record):
    found = record(
        """\
        import sys
        seen = []
        def g():
            return 1
        def f():
            sys.setprofile(lambda frame, event, arg: seen.append(event))
            g()
            sys.setprofile(None)
            return seen.count("call")
        """
    )
    assert (found.outcome, found.frames[-1].value) == ("returned", "1")
