"""Self-verification: the model predicts what its own program does before it answers.

For each program the model predicts the outputs of given calls, as traces or values; a program is
kept when the predictions agree with what the task says. Nothing is run: this is what a code world
model can do where execution is impossible.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cwm_core.engine.base import Engine, SamplingParams
from cwm_core.errors import CodecError, DataError
from cwm_core.text.special_tokens import STOP_TOKENS
from cwm_core.text.tokenizer import Tokenizer
from cwm_core.trace.codec import parse_lenient, prompt_ids
from cwm_core.trace.frames import Event
from cwm_eval.benchmarks.cruxeval import call_frame


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the model expects a call to return; None when its text is no finished execution."""

    call: str
    value: str | None
    expected: str
    tokens: int

    @property
    def agrees(self) -> bool:
        """Whether the predicted value is the one that the task wants, as Python literals."""
        return self.value is not None and same_literal(self.value, self.expected)


async def predict_call(
    engine: Engine,
    tokenizer: Tokenizer,
    code: str,
    entry: str,
    arguments: str,
    *,
    params: SamplingParams | None = None,
) -> tuple[str | None, int]:
    """Let the model execute ``entry(arguments)``; return the value's `repr` text and the tokens.

    None when the program does not define `entry` or the model's text does not end with a return.
    Raises what the engine raises.
    """
    try:
        context, frame = call_frame(code, arguments, entry)
        ids = prompt_ids(context, frame, tokenizer)
    except (DataError, CodecError):
        return None, 0
    names = tokenizer.special_ids
    stops = tuple(names[name] for name in STOP_TOKENS if name in names)
    chosen = params or SamplingParams(max_tokens=2048, stop_token_ids=stops)
    made = await engine.generate(ids, chosen)
    read = parse_lenient(made.token_ids, tokenizer, before=(frame,))
    ended = read.complete and read.frames and read.frames[-1].event is Event.RETURN
    return (read.frames[-1].value if ended else None), len(made.token_ids)


async def verify(
    engine: Engine,
    tokenizer: Tokenizer,
    code: str,
    entry: str,
    examples: Mapping[str, str],
    *,
    params: SamplingParams | None = None,
) -> list[Prediction]:
    """Predict the examples of a task, which map argument lists to the `repr` of what is wanted."""
    found = []
    for arguments, expected in examples.items():
        value, tokens = await predict_call(engine, tokenizer, code, entry, arguments, params=params)
        found.append(Prediction(f"{entry}({arguments})", value, expected, tokens))
    return found


async def first_verified(
    engine: Engine,
    tokenizer: Tokenizer,
    programs: Sequence[str],
    entry: str,
    examples: Mapping[str, str],
    *,
    params: SamplingParams | None = None,
) -> tuple[int, list[list[Prediction]]]:
    """Return the index of the program with the most agreeing predictions, and all predictions.

    The first such program; later ones are not tried once one agrees throughout. Raises ValueError
    without programs, and what the engine raises.
    """
    if not programs:
        raise ValueError("there is no program to verify")
    tried: list[list[Prediction]] = []
    for code in programs:
        tried.append(await verify(engine, tokenizer, code, entry, examples, params=params))
        if tried[-1] and all(prediction.agrees for prediction in tried[-1]):
            break
    scores = [sum(prediction.agrees for prediction in found) for found in tried]
    return scores.index(max(scores)), tried


def same_literal(left: str, right: str) -> bool:
    """Whether two `repr` texts say the same: equal literals of one type, or equal texts."""
    import ast

    if left.strip() == right.strip():
        return True
    try:
        values = ast.literal_eval(left.strip()), ast.literal_eval(right.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return False
    return type(values[0]) is type(values[1]) and bool(values[0] == values[1])
