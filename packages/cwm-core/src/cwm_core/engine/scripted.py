"""An engine that replays given completions and is certain of them."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from cwm_core.engine.base import Completion, EngineError, SamplingParams, Scores
from cwm_core.errors import DataError


class ScriptedEngine:
    """Answers `by_prompt` where it knows the prompt, and with the next of `in_order` elsewhere.

    Every token has log-probability 0. It predicts any sequence that it is asked to score, as an
    oracle would.
    """

    def __init__(
        self,
        in_order: Iterable[Sequence[int]] = (),
        *,
        by_prompt: Mapping[tuple[int, ...], Sequence[int]] | None = None,
    ) -> None:
        self._in_order = deque(tuple(ids) for ids in in_order)
        self._by_prompt = {tuple(p): tuple(ids) for p, ids in (by_prompt or {}).items()}

    @classmethod
    def load(cls, path: Path) -> ScriptedEngine:
        """Read the JSON lines of `ScriptedConfig.path`.

        Raises:
            DataError: the file cannot be read, or a line is malformed.
        """
        in_order, by_prompt = [], {}
        try:
            lines = path.read_text().splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"cannot read {path}: {error}", "give engine.path=FILE") from error
        for number, line in enumerate(lines, start=1):
            try:
                entry = json.loads(line)
                ids = tuple(int(token) for token in entry["token_ids"])
                prompt = entry.get("prompt_ids")
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                raise DataError(
                    f"{path}, line {number} is no scripted completion: {error!r}",
                    'write {"token_ids": [...]} per line, with "prompt_ids" for a given prompt',
                ) from error
            if prompt is None:
                in_order.append(ids)
            else:
                by_prompt[tuple(prompt)] = ids
        return cls(in_order, by_prompt=by_prompt)

    async def generate(self, prompt_ids: Sequence[int], params: SamplingParams) -> Completion:
        """Return the scripted completion, ended after a stop token or at `max_tokens`."""
        ids = self._by_prompt.get(tuple(prompt_ids))
        if ids is None:
            if not self._in_order:
                raise EngineError(
                    f"the script has no completion for a prompt of {len(prompt_ids)} tokens",
                    "add one to the script",
                )
            ids = self._in_order.popleft()
        stops = [index for index, token in enumerate(ids) if token in params.stop_token_ids]
        whole = ids[: stops[0] + 1] if stops else ids
        kept = whole[: params.max_tokens]
        reason = "stop" if len(kept) == len(whole) else "length"
        return Completion(kept, (0.0,) * len(kept), reason)

    async def score(self, token_ids: Sequence[int]) -> Scores:
        """Score a sequence as certain."""
        return Scores((0.0,) * len(token_ids), (-1, *token_ids[1:]) if token_ids else ())

    async def close(self) -> None:
        """Nothing is held."""
