from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cwm_core.data.records import Outcome, TraceRecord
from cwm_core.engine.base import Completion, SamplingParams, Scores
from cwm_core.engine.scripted import ScriptedEngine
from cwm_core.errors import ConfigError, ContextLengthError, DataError, RunError
from cwm_core.plugins import registry
from cwm_core.text.tokenizer import Tokenizer, train_bpe
from cwm_core.trace.codec import render_ids, render_text
from cwm_core.trace.frames import Event, Frame, Trace
from cwm_eval.benchmarks.base import Benchmark, SkipTaskError, Summary
from cwm_eval.benchmarks.trace_prediction import TracePredictionBenchmark
from cwm_eval.engines import EmptyEngine
from cwm_eval.samples import Sample

pytestmark = pytest.mark.usefixtures("environments")


def make(data: Path, own: Tokenizer, /, limit: int | None = None, **fields: Any) -> Any:
    config = registry().make("benchmarks", "trace_prediction", data=data, **fields)
    return config.build(tokenizer=own, limit=limit)


def run(benchmark: TracePredictionBenchmark, engine: Any) -> Summary:
    async def all_samples() -> list[Sample]:
        return [
            Sample(task.id, task.metadata, result=await benchmark.evaluate(task, engine))
            for task in benchmark.tasks()
        ]

    return benchmark.summarise(asyncio.run(all_samples()))


def figures(summary: Summary) -> dict[str, tuple[float, int]]:
    return {name: (round(e.value, 4), e.count) for name, e in summary.metrics.items()}


def test_gold_scores_everything(shards: Path, tokenizer: Tokenizer, tokenizer_dir: Path) -> None:
    benchmark = make(shards, tokenizer)
    assert isinstance(benchmark, Benchmark)
    gold = registry().make("engines", "gold", data=shards, tokenizer=tokenizer_dir).build()
    summary = run(benchmark, gold)
    found = figures(summary)
    assert found.pop("loss")[0] == 0.0
    assert {value for value, _ in found.values()} == {1.0}
    assert found["next_frame"][1] == summary.counts["frames"]
    assert found["trace_exact"][1] == 12
    assert found["output"][1] == 9  # three of the twelve raise
    for groups in summary.breakdowns.values():
        for metrics in groups.values():
            assert {estimate.value for estimate in metrics.values()} == {1.0}


def test_empty_scores_nothing(shards: Path, tokenizer: Tokenizer) -> None:
    found = figures(run(make(shards, tokenizer), EmptyEngine()))
    assert found.pop("loss")[0] > 10
    assert {value for value, _ in found.values()} == {0.0}
    assert found["trace_exact"][1] == 12 and found["output"][1] == 9


# An engine with known mistakes: two programs, three traces, every figure worked out by hand.


def by_hand(program: str, argument: int, difficulty: int) -> TraceRecord:
    """f(n): m = n + 1; return m -- a call, two lines and a return."""
    source = "def f(n):\n    m = n + 1\n    return m\n"
    frames = (
        Frame(Event.CALL, "def f(n):\n", {"n": str(argument)}),
        Frame(Event.LINE, "    m = n + 1\n", {"n": str(argument)}),
        Frame(Event.LINE, "    return m\n", {"n": str(argument), "m": str(argument + 1)}),
        Frame(Event.RETURN, "    return m\n", None, str(argument + 1)),
    )
    return TraceRecord(
        f"{program}-{argument}", program, "test", "handmade", "f", str(argument), difficulty,
        ("arithmetic",), source, frames, Outcome.RETURNED, "", "", 4, 0.0, "3.11",
    )  # fmt: skip


class Flawed(ScriptedEngine):
    """Scores with chosen tokens wrong (each token a byte) and generates chosen texts."""

    def __init__(self, mistakes: dict[tuple[int, ...], set[int]], answers: dict[Any, Any]) -> None:
        super().__init__(by_prompt=answers)
        self.mistakes = mistakes

    async def score(self, token_ids: Sequence[int]) -> Scores:
        wrong = self.mistakes[tuple(token_ids)]
        greedy = [0 if t in wrong else token for t, token in enumerate(token_ids)]
        return Scores(tuple(-1.0 if t in wrong else -0.5 for t in range(len(greedy))), (*greedy,))


def position(record: TraceRecord, tokenizer: Tokenizer, frame: int, text: str) -> int:
    """Where the last byte of `text` stands inside a frame."""
    encoded = render_ids(record.trace, tokenizer)
    where = [t for t, number in enumerate(encoded.frame_index) if number == frame]
    spelled = [tokenizer.decode([encoded.ids[t]]) for t in where]
    for start in range(len(spelled)):
        joined, count = "", 0
        while len(joined) < len(text) and start + count < len(spelled):
            joined += spelled[start + count]
            count += 1
        if joined == text:
            return where[start + count - 1]
    raise AssertionError(f"{text!r} is not in frame {frame}")


def test_known_mistakes_give_known_figures(make_shards: Any, tokenizer: Tokenizer) -> None:
    a1, a2, b1 = by_hand("a", 1, 3), by_hand("a", 2, 3), by_hand("b", 1, 5)
    b1 = replace(b1, context=b1.context + "# another program\n")
    shards = make_shards("hand", [a1, a2, b1])
    encoded = {r.trace_id: render_ids(r.trace, tokenizer) for r in (a1, a2, b1)}
    end = len(encoded["b-1"].ids) - 1
    mistakes = {
        # The state of the second line, and the value returned.
        "a-1": {position(a1, tokenizer, 2, '"m": "2'), position(a1, tokenizer, 3, '"2')},
        "a-2": set(),
        # The source of the first line, and the end token.
        "b-1": {position(b1, tokenizer, 1, "n + 1"), end},
    }
    truth = {k: tuple(e.ids[e.prompt_length :]) for k, e in encoded.items()}
    late = Trace(a1.context, (*a1.frames[:3], replace(a1.frames[3], value="3")))
    wrong_value = render_ids(late, tokenizer)
    answers = {
        "a-1": wrong_value.ids[wrong_value.prompt_length :],  # only the return value is wrong
        "a-2": truth["a-2"],
        "b-1": [*truth["b-1"][:-1], *tokenizer.encode("?"), truth["b-1"][-1]],  # one byte too much
    }
    engine = Flawed(
        {tuple(e.ids): mistakes[k] for k, e in encoded.items()},
        {tuple(e.ids[: e.prompt_length]): answers[k] for k, e in encoded.items()},
    )
    summary = run(make(shards, tokenizer), engine)
    tokens = sum(map(len, truth.values()))
    assert figures(summary) == {
        "next_frame": (round(5 / 9, 4), 9),  # a-1 loses two frames, b-1 two
        "state": (round(5 / 6, 4), 6),
        "action": (round(8 / 9, 4), 9),
        "return_value": (round(2 / 3, 4), 3),
        "token": (round((tokens - 4) / tokens, 4), tokens),
        "loss": (round(0.5 + 0.5 * 4 / tokens, 4), tokens),
        "trace_teacher_forced": (round(1 / 3, 4), 3),
        "trace_exact": (round(1 / 3, 4), 3),
        "output": (round(2 / 3, 4), 3),  # b-1 ends with the right value in spite of the stray byte
        "valid": (round(2 / 3, 4), 3),
        "prefix": (round((2 / 3 + 1 + 1) / 3, 4), 3),
    }
    cells = {
        dimension: {
            group: {name: (round(e.value, 4), e.count) for name, e in metrics.items()}
            for group, metrics in groups.items()
        }
        for dimension, groups in summary.breakdowns.items()
    }
    assert cells["event"]["line"]["next_frame"] == (round(4 / 6, 4), 6)
    assert cells["event"]["return"]["next_frame"] == (round(1 / 3, 4), 3)
    assert [*cells["step"]] == ["1", "2", "3–4"]
    assert cells["step"]["1"]["action"] == (round(2 / 3, 4), 3)
    assert cells["difficulty"]["5"]["next_frame"] == (round(1 / 3, 4), 3)
    assert cells["difficulty"]["3"]["trace_exact"] == (0.5, 2)
    assert cells["construct"]["arithmetic"]["output"] == (round(2 / 3, 4), 3)
    assert cells["length"] == {"3–4": cells["construct"]["arithmetic"]}
    assert summary.counts["programs"] == 2


def test_output_that_is_no_trace_is_wrong_and_not_an_error(
    shards: Path, tokenizer: Tokenizer
) -> None:
    class Babble(EmptyEngine):
        async def generate(self, prompt_ids: Sequence[int], params: SamplingParams) -> Completion:
            ids = (*tokenizer.encode("I think it is 4."), 10**9, *params.stop_token_ids)
            return Completion(ids, (0.0,) * len(ids), "stop")

    summary = run(make(shards, tokenizer, teacher_forced=False), Babble())
    found = figures(summary)
    assert set(found) == {"trace_exact", "output", "valid", "prefix"}
    assert {value for value, _ in found.values()} == {0.0}


def test_limits_draw_nested_subsets(shards: Path, tokenizer: Tokenizer) -> None:
    few = {task.id for task in make(shards, tokenizer, limit=3).tasks()}
    more = {task.id for task in make(shards, tokenizer, limit=7).tasks()}
    assert len(few) == 3 and len(more) == 7 and few < more
    other = {task.id for task in make(shards, tokenizer, limit=3, seed=5).tasks()}
    assert other != few
    summary = run(make(shards, tokenizer, free_running_limit=4), EmptyEngine())
    assert summary.counts["free_running"] == 4 and summary.counts["traces"] == 12


def test_traces_beyond_the_token_limit_are_counted_not_scored(
    shards: Path, tokenizer: Tokenizer
) -> None:
    summary = run(make(shards, tokenizer, max_new_tokens=120), EmptyEngine())
    assert summary.counts["too_long_for_free_running"] > 0
    free = summary.counts["free_running"]
    assert free + summary.counts["too_long_for_free_running"] == 12
    assert figures(summary)["trace_exact"][1] == free


def test_generation_stops_well_beyond_the_true_length(shards: Path, tokenizer: Tokenizer) -> None:
    asked: set[int] = set()

    class Endless(EmptyEngine):
        async def generate(self, prompt_ids: Sequence[int], params: SamplingParams) -> Completion:
            asked.add(params.max_tokens)
            ids = (65,) * params.max_tokens
            return Completion(ids, (0.0,) * len(ids), "length")

    benchmark = make(shards, tokenizer, teacher_forced=False, length_factor=1.5)
    summary = run(benchmark, Endless())
    assert summary.counts["hit_token_limit"] == 12
    assert asked == {
        min(2048, int(1.5 * (len(e.ids) - e.prompt_length)) + 64)
        for e in (
            render_ids(Trace(t.data["context"], t.data["frames"]), tokenizer)
            for t in benchmark.tasks()
        )
    }


def test_an_answer_that_does_not_fit_is_the_engines_fault(
    shards: Path, tokenizer: Tokenizer
) -> None:
    class Short(EmptyEngine):
        async def score(self, token_ids: Sequence[int]) -> Scores:
            return Scores((0.0,), (-1,))

    with pytest.raises(RunError, match="scored 1 tokens"):
        run(make(shards, tokenizer), Short())


def test_a_trace_that_the_format_cannot_say_is_skipped(
    make_shards: Any, tokenizer: Tokenizer, records: list[TraceRecord]
) -> None:
    first = records[0]
    odd = replace(first.frames[1], locals={"x": ".."})
    shards = make_shards("odd", [replace(first, frames=(first.frames[0], odd, *first.frames[2:]))])
    with pytest.raises(SkipTaskError, match="unchanged"):
        run(make(shards, tokenizer), EmptyEngine())


def test_tokenizers_must_agree(shards: Path, tokenizer: Tokenizer, tmp_path: Path) -> None:
    train_bpe(["other words"] * 3, 280).save(tmp_path / "other")
    with pytest.raises(ConfigError, match="is not the engine's"):
        make(shards, tokenizer, tokenizer=tmp_path / "other")
    config = registry().make("benchmarks", "trace_prediction", data=shards)
    with pytest.raises(ConfigError, match="brings no tokenizer"):
        config.build()


@pytest.mark.parametrize(
    ("split", "message"), [("validation", r"no traces of split 'validation'"), ("test", None)]
)
def test_splits(shards: Path, tokenizer: Tokenizer, split: str, message: str | None) -> None:
    benchmark = make(shards, tokenizer, split=split)
    if message is None:
        assert benchmark.count() == 12
        return
    with pytest.raises(DataError, match=message) as caught:
        list(benchmark.tasks())
    assert "test (12)" in str(caught.value)


def test_wire_text_of_the_handmade_trace_is_as_the_figures_assume() -> None:
    text = render_text(by_hand("a", 1, 3).trace)
    assert text.endswith(
        '<|return_sep|><|action_sep|>    return m\n<|arg_sep|>"2"<|frame_sep|><|end_of_text|>'
    )


def test_a_trace_longer_than_the_context_is_skipped(shards: Path, tokenizer: Tokenizer) -> None:
    class Small(EmptyEngine):
        async def score(self, token_ids: Sequence[int]) -> Scores:
            raise ContextLengthError(f"the prompt has {len(token_ids)} tokens", "shorten it")

    with pytest.raises(SkipTaskError, match="the prompt has"):
        run(make(shards, tokenizer), Small())
