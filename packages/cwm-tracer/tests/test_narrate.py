"""Narrations: true to the frames, and checked where a model wrote them."""

import json
import re
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cwm_core.config import compose
from cwm_core.data.records import TRACE_SCHEMA, Outcome
from cwm_core.data.shards import ShardWriter, read_shards
from cwm_core.errors import ConfigError, DataError
from cwm_core.rundir import open_run
from cwm_core.text.tokenizer import train_bpe
from cwm_core.trace.frames import Event, Frame
from cwm_tracer import trace
from cwm_tracer.capture.config import SettraceConfig
from cwm_tracer.capture.limits import Limits
from cwm_tracer.capture.scripts import MODULE, script_input
from cwm_tracer.changes import steps
from cwm_tracer.narrate.check import objection
from cwm_tracer.narrate.config import NarrateConfig
from cwm_tracer.narrate.pipeline import narrate_traces
from cwm_tracer.narrate.rules import code, narrate
from cwm_tracer.narrate.story import ending, facts
from cwm_tracer.programs.generator import generate

CODE = re.compile(r"(`+)( ?)(.+?)\2\1(?!`)", re.DOTALL)
BINDING = re.compile(r"(`+[^`]+`+) (?:is|=) (`+)( ?)(.+?)\3\2(?!`)")


@pytest.fixture(scope="module")
def tracer():
    with SettraceConfig().build(Limits(steps=3000)) as built:
        yield built


@pytest.fixture(scope="module")
def record():
    source = "def f(xs):\n    s = 0\n    for x in xs:\n        s += x\n    return s\n"
    return replace(trace(source, input="[3, 40]"), split="train")


def shown(record):
    """Return what the frames name: variables with their texts, and all that quotes may hold."""
    frames = record.trace.frames
    pairs = {(name, text) for f in frames for name, text in (f.locals or {}).items()}
    texts = {f.source.strip() for f in frames} | {f.function for f in frames}
    texts |= {f.value for f in frames if f.value is not None} | {repr(f.stdout) for f in frames}
    texts |= {part for pair in pairs for part in pair} | {record.reason}
    return pairs, texts


@given(seed=st.integers(0, 10**6), level=st.integers(1, 5), words=st.integers(0, 99))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_value_named_is_in_the_frames(tracer, seed, level, words):
    program = generate(seed, level)
    for text in program.inputs[:1]:
        record = tracer.record(program, text)
        if not record.trace.complete:
            continue
        narration = narrate(record, words, max_value=10**6)
        pairs, texts = shown(record)
        account = narration.account
        quoted = [match[3] for match in CODE.finditer(account)]
        assert quoted and set(quoted) <= texts
        for name, _, _, value in BINDING.findall(account):
            assert (name.strip("`"), value) in pairs
        last = record.frames[-1]
        true = last.value if record.outcome is Outcome.RETURNED else record.reason
        assert narration.answer == true
        assert account.splitlines()[-1].count(code(true)) == 1


@given(seed=st.integers(0, 10**6), level=st.integers(1, 5))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_told_in_order_the_facts_give_the_states_of_the_frames(tracer, seed, level):
    """What is told of a call's variables, added up, is what its line frames show."""
    program = generate(seed, level)
    record = tracer.record(program, program.inputs[0])
    found = iter(facts(record))
    states = {}
    for step in steps(record.trace.frames):
        state = states.setdefault(step.activation, {})
        state.update(step.changed)
        for name in step.gone:
            del state[name]
        if step.frame.locals is not None:
            assert state == dict(step.frame.locals)
    told = [fact for fact in found if fact.kind in ("line", "effect", "call", "resume")]
    named = sum(len(fact.values) + len(fact.gone) for fact in told)
    assert named == sum(len(step.changed) + len(step.gone) for step in steps(record.trace.frames))


def test_words_vary_by_seed_only(record):
    accounts = {narrate(record, seed).account for seed in range(20)}
    assert len(accounts) > 10
    assert narrate(record, 3) == narrate(record, 3)


def test_what_is_not_known_is_not_said():
    source = """\
def g():
    raise KeyError('k')

def f():
    try:
        return g()
    except KeyError:
        return 1
"""
    told = list(facts(trace(source, entry="f")))
    kinds = [fact.kind for fact in told]
    assert kinds == [
        "call", "quiet", "run", "call", "run", "exception", "leave", "exception", "quiet", "run",
        "return",
    ]  # fmt: skip
    assert [fact.value for fact in told if fact.kind == "return"] == ["1"]


def test_generators_pause_and_resume():
    source = """\
def f():
    def g():
        x = yield 1
        yield x
    it = g()
    a = next(it)
    return it.send(5)
"""
    record = trace(source)
    kinds = [fact.kind for fact in facts(record)]
    assert kinds.count("yield") == 2 and kinds.count("resume") == 1
    account = narrate(record).account
    assert "`x`" in account and "`5`" in account


def test_long_values_are_not_spelled_out_and_backticks_are_quoted():
    record = trace("def f(n):\n    x = '`' + 'a' * n\n    return x\n", input="300")
    account = narrate(record, max_value=50).account
    assert account.count("a" * 300) == 1
    assert code("a`b``") == "``` a`b`` ```"


def test_scripts_end_with_their_output(tracer):
    from cwm_tracer.api import record_source

    source = "n = int(input())\nprint(n * 2)\nprint('x')\n"
    record = record_source(tracer, source, MODULE, script_input(stdin="21\n"))
    narration = narrate(record)
    assert narration.answer == "42\nx\n"
    assert narration.account.endswith("```\n42\nx\n```")
    assert r"'21\n'" in narration.prompt and "`n`" in narration.account
    silent = record_source(tracer, "x = 1\n", MODULE, "")
    assert narrate(silent).answer == ""


def test_what_was_cut_off_has_no_narration(record):
    cut = replace(record, outcome=Outcome.TIMEOUT)
    assert ending(cut) is None
    with pytest.raises(DataError, match="not complete"):
        narrate(cut)


@pytest.mark.parametrize(
    ("account", "reason"),
    [
        ("The sum of 3 and 40 is built.\nFinal value: 43", None),
        ("1. It adds 3.\n2. It adds 40.\nFinal value: `43`", None),
        ("It adds up.\nFinal value: 43.0", "wrong final value"),
        ("It adds up.\nFinal value: 44", "wrong final value"),
        ("It adds up.\nFinal value: 43 or so", "wrong final value"),
        ("It adds 41.\nFinal value: 43", "invented number"),
        ("It adds -3e1.\nFinal value: 43", "invented number"),
        ("Final value: 43", "no final value"),
        ("The result is 43.", "no final value"),
        ("", "no final value"),
    ],
)
def test_accounts_of_a_model_are_checked(record, account, reason):
    assert objection(account, narrate(record), record) == reason


def test_final_values_are_compared_as_values():
    record = trace("def f():\n    return {'a': [1, 2]}\n")
    told = narrate(record)
    assert objection('It is built.\nFinal value: {"a": [1,2]}', told, record) is None
    assert objection('It is built.\nFinal value: {"a": [1]}', told, record) == "wrong final value"


def shards(directory, records):
    with ShardWriter(directory, TRACE_SCHEMA) as writer:
        for each in records:
            writer.write(each.to_row())
        writer.finish()
    return directory


def run(tmp_path, *overrides, out="run"):
    words = [f"traces={tmp_path}/traces", f"out={tmp_path}/{out}", "workers=1", *overrides]
    config = compose("trace narrate", NarrateConfig, words)
    with open_run(config.out, "trace narrate", config) as opened:
        summary = narrate_traces(config, opened)
    found = config.out / "narrations"
    return summary, list(read_shards(found)) if list(found.glob("*.parquet")) else []


def test_shards(tmp_path, record):
    cut = replace(record, trace_id="cut", outcome=Outcome.STEP_LIMIT)
    long = replace(record, trace_id="long", frames=record.frames[:-1] * 40 + record.frames[-1:])
    shards(tmp_path / "traces", [record, cut, long])
    summary, rows = run(tmp_path, "per_trace=2", "max_chars=2000")
    assert summary["dropped"] == {"too long": 2, "incomplete: step_limit": 1}
    assert summary["narrations"] == 2 and summary["narrations_by_split"] == {"train": 2}
    assert [row["narration_id"] for row in rows] == [f"{record.trace_id}-rules-{i}" for i in (0, 1)]
    for row in rows:
        told = narrate(record, row["seed"])
        assert row["text"] == told.text and row["text"].startswith(row["prompt"])
        assert row["answer"] == "43" and row["style"] == "rules"
    (tmp_path / "run" / "status.json").write_text(json.dumps({"state": "stopped"}))
    assert run(tmp_path, "per_trace=2", "max_chars=2000") == (summary, rows)


def test_a_model_rewrites_and_is_checked(tmp_path, record):
    tokenizer = train_bpe([narrate(record).text], vocab_size=400)
    tokenizer.save(tmp_path / "tokenizer")
    answers = ["Three and 40 make 43.\nFinal value: 43", "Wrong.\nFinal value: 44", "It is 99.\n"]
    script = tmp_path / "script.jsonl"
    script.write_text(
        "".join(json.dumps({"token_ids": tokenizer.encode(text)}) + "\n" for text in answers)
    )
    shards(tmp_path / "traces", [record])
    words = [
        "engine=scripted", f"engine.path={script}", "rewrite.chat=false", "per_trace=3",
        "rewrite.concurrency=1",
    ]  # fmt: skip
    with pytest.raises(Exception, match="tokenizer"):
        run(tmp_path, *words, out="none")
    summary, rows = run(tmp_path, *words, f"rewrite.tokenizer={tmp_path}/tokenizer")
    assert summary["dropped"] == {"wrong final value": 1, "no final value": 1}
    assert [row["style"] for row in rows] == ["model"]
    assert rows[0]["text"].endswith(f"{answers[0]}\n")


def test_mistakes_are_told(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        run(tmp_path)
    with pytest.raises(ConfigError, match="max_value"):
        compose("trace narrate", NarrateConfig, ["traces=x", "out=y", "max_value=0"])


def test_threads_beside_the_entry_are_not_told(record):
    other = Frame(Event.CALL, "def g():\n", {"q": "1"}, depth=0, function="g", thread=1, track=1)
    mixed = replace(record, frames=(record.frames[0], other, *record.frames[1:]))
    assert narrate(mixed) == narrate(record)
