"""Test runs in the sandbox: every way in which tests can end, and what is recorded of them."""

import contextlib
import sys
import textwrap

import pytest

from cwm_core.config import compose
from cwm_core.errors import ConfigError, DataError, RunError
from cwm_core.sandbox.bubblewrap import why_not
from cwm_tracer.collect.repository.config import TestsConfig
from cwm_tracer.collect.repository.outcomes import differences
from cwm_tracer.collect.repository.repository import name_of, pack
from cwm_tracer.collect.repository.session import Session
from cwm_tracer.collect.repository.streams import read_stream

pytestmark = pytest.mark.timeout(300)

FILES = {
    "shop/__init__.py": "",
    "shop/prices.py": """
        def double(x):
            return 2 * x

        def total(prices):
            result = 0
            for price in prices:
                result += double(price)
            return result

        def call(function, *arguments):
            return function(*arguments)

        async def later(x):
            return x
        """,
    "tests/test_plain.py": """
        import pytest
        from shop import prices

        @pytest.fixture
        def three():
            yield [prices.double(n) for n in range(3)]
            prices.double(100)

        @pytest.mark.parametrize("n", [1, 2])
        def test_double(n):
            assert prices.double(n) == 2 * n

        class TestTotal:
            def test_fixture(self, three):
                assert prices.total(three) == 12

            def test_wrong(self):
                assert prices.total([1]) == 1

        def test_later():
            with pytest.raises(StopIteration):
                prices.later(1).send(None)

        @pytest.mark.skip
        def test_skipped():
            pass

        @pytest.mark.xfail
        def test_xfailed():
            assert prices.double(1) == 1

        @pytest.mark.xfail
        def test_xpassed():
            assert prices.double(1) == 2

        @pytest.fixture
        def broken():
            raise ValueError

        def test_error(broken):
            pass
        """,
    "tests/test_exit.py": """
        import os
        from shop import prices

        def test_before():
            assert prices.total([1, 2]) == 6

        def test_exit():
            prices.call(os._exit, 3)

        def test_after():
            pass
        """,
    "tests/test_kill.py": """
        import os, signal
        from shop import prices

        def test_before():
            assert prices.total([1, 2]) == 6

        def test_kill():
            prices.call(os.kill, os.getpid(), signal.SIGKILL)
        """,
    "tests/test_processes.py": """
        import multiprocessing, os, threading
        from shop import prices

        def test_fork():
            child = os.fork()
            if not child:
                prices.total([5])
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
            assert prices.double(4) == 8

        def test_multiprocessing():
            fork = multiprocessing.get_context("fork")
            child = fork.Process(target=prices.double, args=(3,))
            child.start()
            child.join()
            assert child.exitcode == 0

        def test_thread():
            thread = threading.Thread(target=prices.double, args=(77,))
            thread.start()
            thread.join()
        """,
    "tests/test_settrace.py": """
        import sys
        from shop import prices

        def test_own_tracer():
            seen = []
            sys.settrace(lambda *event: seen.append(event[1]))
            prices.double(1)
            sys.settrace(None)
            assert seen[0] == "call"

        def test_after():
            assert prices.double(2) == 4

        def test_notices():
            assert sys.gettrace() is None
        """,
    "tests/test_broken.py": "import nothing_of_this_name\n",
}


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    return write(tmp_path_factory.mktemp("shop") / "shop-1.0", FILES)


def write(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
    return root


def config(repository, *overrides):
    words = [f"repository={repository}", "out=unused", "sandbox.allow_unisolated=true"]
    return compose("trace tests", TestsConfig, [*words, *overrides])


def session_for(repository, *overrides):
    return contextlib.closing(Session(config(repository, *overrides), pack(str(repository))))


@pytest.fixture(scope="module")
def session(repository):
    with session_for(repository) as opened:
        yield opened


def both(session, file):
    untraced, traced = session.run(file, trace=False), session.run(file, trace=True)
    assert not untraced.streams
    streams = [read_stream(data) for data in traced.streams.values()]
    return untraced, traced, sorted(streams, key=lambda stream: -len(stream.cuts))


def calls(stream):
    return [(cut.about["test"].partition("::")[2], cut.about["function"]) for cut in stream.cuts]


def test_all_tests_are_collected(session):
    found = session.collect()
    assert len(found.collected) == 20
    assert list(found.errors) == ["tests/test_broken.py"]


def test_every_outcome_is_the_same_when_traced(session):
    untraced, traced, (stream,) = both(session, "tests/test_plain.py")
    names = {name.rpartition("::")[2]: outcome for name, outcome in traced.outcomes.tests.items()}
    assert names == {
        "test_double[1]": "passed",
        "test_double[2]": "passed",
        "test_fixture": "passed",
        "test_wrong": "failed",
        "test_later": "passed",
        "test_skipped": "skipped",
        "test_xfailed": "xfailed",
        "test_xpassed": "xpassed",
        "test_error": "error",
    }
    assert differences(untraced.outcomes, traced.outcomes) == {}
    assert ("test_double[1]", "double") in calls(stream)
    assert ("TestTotal::test_fixture", "total") in calls(stream)
    assert ("test_later", "later") in calls(stream)
    assert {cut.about["path"] for cut in stream.cuts} == {"shop/prices.py"}
    assert {cut.about["module"] for cut in stream.cuts} == {"shop.prices"}
    assert stream.notes == []


@pytest.mark.parametrize("file", ["test_exit", "test_kill"])
def test_a_process_that_dies_leaves_what_it_had_recorded(session, file):
    untraced, traced, (stream,) = both(session, f"tests/{file}.py")
    assert differences(untraced.outcomes, traced.outcomes) == {}
    outcomes = list(traced.outcomes.tests.values())
    assert outcomes[:2] == ["passed", "never ended"] and set(outcomes[2:]) <= {"not run"}
    assert not traced.outcomes.finished
    assert calls(stream) == [("test_before", "total"), (file, "call")]
    assert stream.cuts[0].end["outcome"] == "returned" and stream.cuts[1].end is None


def test_children_and_threads_are_recorded(session):
    untraced, traced, streams = both(session, "tests/test_processes.py")
    assert set(traced.outcomes.tests.values()) == {"passed"}
    assert differences(untraced.outcomes, traced.outcomes) == {}
    assert len(streams) >= 3
    recorded = [call for stream in streams for call in calls(stream)]
    assert ("test_fork", "total") in recorded and ("test_fork", "double") in recorded
    assert ("test_multiprocessing", "double") in recorded
    assert ("test_thread", "double") in recorded


def test_tests_that_set_or_look_for_a_trace_function(session):
    untraced, traced, (stream,) = both(session, "tests/test_settrace.py")
    found = differences(untraced.outcomes, traced.outcomes)
    assert found == {"tests/test_settrace.py::test_notices": ("passed", "failed")}
    assert calls(stream) == [("test_after", "double")]
    assert [note["note"] for note in stream.notes] == ["a test changed the trace function"]


def test_a_file_that_cannot_be_imported(session):
    untraced, traced, streams = both(session, "tests/test_broken.py")
    assert traced.outcomes.tests == {"tests/test_broken.py": "collection error"}
    assert "nothing_of_this_name" in traced.outcomes.errors["tests/test_broken.py"]
    assert differences(untraced.outcomes, traced.outcomes) == {} and not streams


@pytest.mark.slow
def test_the_workers_of_xdist_record(repository):
    pytest.importorskip("xdist")
    with session_for(repository, "arguments=[-n,'2']") as session:
        untraced, traced, streams = both(session, "tests/test_plain.py")
    assert differences(untraced.outcomes, traced.outcomes) == {}
    assert len(traced.outcomes.tests) == 9
    assert 1 <= len(streams) <= 2
    assert ("TestTotal::test_wrong", "total") in [c for stream in streams for c in calls(stream)]


def test_a_debugger_that_is_there_first_is_refused_with_its_name(tmp_path):
    conftest = """
        import sys
        def follow(frame, event, arg):
            return None
        def pytest_sessionstart(session):
            sys.settrace(follow)
        """
    files = {"tests/conftest.py": conftest, "tests/test_plain.py": FILES["tests/test_plain.py"]}
    shop = {name: text for name, text in FILES.items() if name.startswith("shop")}
    with session_for(write(tmp_path / "debugged", {**shop, **files})) as session:
        untraced, traced, (stream,) = both(session, "tests/test_plain.py")
    assert differences(untraced.outcomes, traced.outcomes) == {}
    assert not stream.cuts
    (note,) = stream.notes
    assert note["note"] == "another trace function is active" and note["name"].endswith("follow")


@pytest.mark.skipif(why_not() is not None, reason=f"no isolation: {why_not()}")
def test_tests_cannot_reach_out_of_the_sandbox(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("x")
    test = f"""
        import pathlib, socket, pytest
        def test_files():
            assert not pathlib.Path({str(secret)!r}).exists()
        def test_network():
            with pytest.raises(OSError):
                socket.create_connection(("192.0.2.1", 80), timeout=2)
        """
    with session_for(write(tmp_path / "nosy", {"test_nosy.py": test})) as session:
        run = session.run("test_nosy.py", trace=True)
    assert list(run.outcomes.tests.values()) == ["passed", "passed"]


def test_each_run_starts_from_the_same_files(tmp_path):
    test = """
        import pathlib
        def test_once():
            mark = pathlib.Path(__file__).with_name("mark")
            assert not mark.exists()
            mark.touch()
        """
    root = write(tmp_path / "marks", {"test_mark.py": test})
    with session_for(root, "install=touch installed") as session:
        untraced, traced, _ = both(session, "test_mark.py")
        assert set(untraced.outcomes.tests.values()) == {"passed"}
        assert untraced.outcomes.tests == traced.outcomes.tests
        assert session._call(["test", "-e", "repository/installed"]).exit_code == 0


def test_what_a_user_can_get_wrong(tmp_path, repository):
    with pytest.raises(DataError, match="does not exist"):
        pack(str(tmp_path / "nowhere"))
    (tmp_path / "text.tar.gz").write_text("text")
    with pytest.raises(DataError, match="no tar archive"):
        pack(str(tmp_path / "text.tar.gz"))
    with pytest.raises(RunError, match="git cannot clone"):
        pack(f"file://{tmp_path}/nothing.git")
    with pytest.raises(ConfigError, match="no interpreter"), session_for(repository, "python=py0"):
        pass
    with pytest.raises(RunError, match="install='exit 3' fails"):
        session_for(repository, "install=exit 3")


def test_an_interpreter_without_pytest_is_named(tmp_path, repository):
    import venv

    venv.create(tmp_path / "bare", with_pip=False)
    with pytest.raises(RunError, match="cannot import pytest") as error:
        session_for(repository, f"python={tmp_path}/bare/bin/python")
    assert "python=" in error.value.hint


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"conftest.py": "raise RuntimeError('broken conftest')\n"}, "broken conftest"),
        ({"module.py": "x = 1\n"}, "no tests"),
    ],
)
def test_a_repository_whose_tests_cannot_be_collected(tmp_path, files, message):
    root = write(tmp_path / "empty", files)
    with session_for(root) as session, pytest.raises(RunError, match=message):
        session.collect()


def test_names_of_repositories():
    assert name_of("/a/more_itertools-10.1.tar.gz") == "more_itertools-10.1"
    assert name_of("https://host/user/project.git") == "project"
    assert name_of("dir/project/") == "project"


def test_the_interpreter_is_shown_with_its_installation(repository):
    from cwm_tracer.collect.repository.interpreter import placed

    python, sandbox = placed(None, config(repository).sandbox)
    assert python == sys.executable
    assert all(path.exists() for path in sandbox.read_only)
