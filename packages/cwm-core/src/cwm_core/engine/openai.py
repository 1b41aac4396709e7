"""Client of OpenAI-compatible completions servers, token ids in and out.

Token ids in answers are read from where servers put them: ``choices[0].token_ids`` (vLLM and
`cwm serve`), ``logprobs.tokens`` as ``"token_id:17"`` (vLLM), ``logprobs.content[].id``
(llama.cpp). Text is never tokenised again.
"""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cwm_core.engine.base import Completion, EngineError, SamplingParams, Scores
from cwm_core.engine.config import OpenAIConfig

if TYPE_CHECKING:
    from openai import AsyncOpenAI

TOKEN_PREFIX = "token_id:"


class OpenAIEngine:
    """An `Engine` behind an OpenAI-compatible server; usable from any event loop.

    Raises:
        EngineError: from every method, when the server cannot be reached within the retries, does
            not know the model, refuses the request, or answers without what was asked for.
    """

    def __init__(self, config: OpenAIConfig) -> None:
        self.config = config
        self._model = config.model
        self._client: AsyncOpenAI | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def generate(self, prompt_ids: Sequence[int], params: SamplingParams) -> Completion:
        """Continue `prompt_ids`."""
        answer = await self._complete(
            {
                "prompt": list(prompt_ids),
                "max_tokens": params.max_tokens,
                "temperature": params.temperature,
                "top_p": params.top_p,
                "seed": params.seed,
                "logprobs": 0,
                "stop_token_ids": list(params.stop_token_ids),
                "return_token_ids": True,
                "return_tokens_as_token_ids": True,
                "skip_special_tokens": False,
                **({"top_k": params.top_k} if params.top_k else {}),
            }
        )
        choice = _choice(answer)
        ids, logprobs = _token_ids(choice), _logprobs(choice)
        _check_counts(ids, logprobs, params.max_tokens)
        reason = choice.get("finish_reason")
        if reason not in ("stop", "length"):
            raise EngineError(f"the server ended a completion with {reason!r}")
        versions = _model_versions(choice, answer, len(ids))
        return Completion(ids, logprobs, reason, choice.get("text") or "", versions)

    async def score(self, token_ids: Sequence[int]) -> Scores:
        """Score a sequence with one request that generates nothing."""
        ids = list(token_ids)
        if len(ids) < 2:
            return Scores((0.0,) * len(ids), (-1,) * len(ids))
        if self.config.score_style == "echo":
            asked = {"echo": True, "logprobs": 1, "max_tokens": 0}
        else:
            asked = {"prompt_logprobs": 1, "max_tokens": 1}
        answer = await self._complete(
            {"prompt": ids, "temperature": 0.0, "return_tokens_as_token_ids": True, **asked}
        )
        choice = _choice(answer)
        if self.config.score_style == "echo":
            return _echoed_scores(choice, ids)
        return _prompt_scores(choice, ids)

    async def update_weights(self, weights: Path, version: int) -> None:
        """Let the server load a model directory, which it must see under the same path.

        The interface is SGLang's ``/update_weights_from_disk``, which `cwm serve` has too.
        """
        body = {"model_path": str(weights), "weight_version": str(version)}
        root = self.config.base_url.rstrip("/").removesuffix("/v1")
        answer = await self._call(self._connect(), "post", f"{root}/update_weights_from_disk", body)
        if answer.get("success") is not True:
            raise EngineError(f"{root} did not take new weights: {answer.get('message')}")

    async def close(self) -> None:
        """Close the connections of the running event loop."""
        if self._client is not None and self._loop is asyncio.get_running_loop():
            await self._client.close()
        self._client = self._loop = None

    async def _complete(self, body: dict[str, Any]) -> dict[str, Any]:
        client = self._connect()
        if not self._model:
            self._model = await self._first_model(client)
        return await self._call(client, "post", "/completions", {"model": self._model, **body})

    async def _first_model(self, client: AsyncOpenAI) -> str:
        models = await self._models(client)
        if not models:
            raise EngineError(f"{self.config.base_url} lists no model", "set engine.model=NAME")
        return models[0]

    async def _models(self, client: AsyncOpenAI) -> list[str]:
        listed = (await self._call(client, "get", "/models")).get("data")
        entries = listed if isinstance(listed, list) else []
        return [str(entry["id"]) for entry in entries if isinstance(entry, dict) and "id" in entry]

    async def _call(
        self, client: AsyncOpenAI, verb: str, path: str, body: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Make a request; retries with backoff are the client library's."""
        import openai

        try:
            answer: Any
            if verb == "get":
                answer = await client.get(path, cast_to=object)
            else:
                answer = await client.post(path, cast_to=object, body=body)
        except openai.NotFoundError as error:
            raise await self._not_found(client, path, error) from error
        except openai.APITimeoutError as error:
            raise self._timed_out() from error
        except openai.APIConnectionError as error:
            raise self._unreachable(error) from error
        except openai.APIStatusError as error:
            raise EngineError(
                f"{self.config.base_url} refused a request ({error.status_code}): {error.message}",
                _STATUS_HINTS.get(error.status_code),
            ) from error
        except ValueError as error:
            raise self._no_object(str(error)) from error
        if not isinstance(answer, dict):
            raise self._no_object(f"{answer!r:.200}")
        return answer

    async def _not_found(self, client: AsyncOpenAI, path: str, error: Exception) -> EngineError:
        if path.endswith("/update_weights_from_disk"):
            return EngineError(
                f"the server has no {path}", "use `cwm serve` or SGLang where weights change"
            )
        if path == "/models":
            return EngineError(
                f"{self.config.base_url} has no {path}",
                "check engine.base_url: it ends with /v1 for most servers; or set engine.model",
            )
        known = ", ".join(await self._models(client)) or "none"
        return EngineError(
            f"{self.config.base_url} does not serve model {self._model!r}: {error}",
            f"set engine.model to one that it serves: {known}",
        )

    def _no_object(self, found: str) -> EngineError:
        return EngineError(
            f"{self.config.base_url} answered with no JSON object: {found}",
            "check engine.base_url: it ends with /v1 for most servers",
        )

    def _timed_out(self) -> EngineError:
        return EngineError(
            f"{self.config.base_url} gave no answer within {self.config.timeout_s:g} s",
            "raise engine.timeout_s, or lower the load on the server",
        )

    def _unreachable(self, error: Exception) -> EngineError:
        cause = error.__cause__ or error
        return EngineError(
            f"cannot reach {self.config.base_url}: {cause}",
            "start the server (such as `cwm serve`), or set engine.base_url",
        )

    def _connect(self) -> AsyncOpenAI:
        """Return the client of the running event loop: connections cannot change loops."""
        loop = asyncio.get_running_loop()
        if self._client is None or self._loop is not loop:
            try:
                from openai import AsyncOpenAI
            except ImportError as error:
                raise EngineError(
                    "the engine 'openai' needs the openai library",
                    "pip install 'cwm-core[openai]'",
                ) from error
            self._loop = loop
            self._client = AsyncOpenAI(
                base_url=self.config.base_url,
                api_key=os.environ.get(self.config.api_key_env) or "none",
                timeout=self.config.timeout_s,
                max_retries=self.config.retries,
            )
        return self._client


_STATUS_HINTS = {
    400: "the server may not take token ids as prompt, or not these options",
    401: "put the key into the environment variable that engine.api_key_env names",
    403: "put the key into the environment variable that engine.api_key_env names",
    429: "lower the concurrency, or raise engine.retries",
}
_NO_IDS = "use a server that returns token ids, such as vLLM or `cwm serve`"
_NO_LOGPROBS = "switch log-probabilities on in the server, or use vLLM or `cwm serve`"


def _choice(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    choices = answer.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise EngineError(f"the server answered without choices: {dict(answer)!r:.200}")
    return choices[0]


def _token_ids(choice: Mapping[str, Any]) -> tuple[int, ...]:
    ids = choice.get("token_ids")
    logprobs = choice.get("logprobs") or {}
    try:
        if ids is None and isinstance(logprobs.get("content"), list):
            ids = [entry["id"] for entry in logprobs["content"]]
        elif ids is None and isinstance(logprobs.get("tokens"), list):
            ids = [_parse_token(token) for token in logprobs["tokens"]]
        return tuple(int(token) for token in ids or ())
    except (KeyError, TypeError, ValueError) as error:
        raise EngineError("the server's answer has no token ids", _NO_IDS) from error


def _logprobs(choice: Mapping[str, Any]) -> tuple[float, ...]:
    logprobs = choice.get("logprobs")
    try:
        if isinstance(logprobs, dict) and isinstance(logprobs.get("content"), list):
            return tuple(float(entry["logprob"]) for entry in logprobs["content"])
        if isinstance(logprobs, dict):
            return tuple(float(value) for value in logprobs["token_logprobs"])
    except (KeyError, TypeError, ValueError) as error:
        raise EngineError("the server's log-probabilities are malformed", _NO_LOGPROBS) from error
    raise EngineError("the server's answer has no log-probabilities", _NO_LOGPROBS)


def _model_versions(
    choice: Mapping[str, Any], answer: Mapping[str, Any], count: int
) -> tuple[int, ...] | None:
    """Read a version per token (`cwm serve`), or one for the whole answer."""
    versions = choice.get("model_versions")
    if versions is None:
        version = answer.get("model_version")
        return None if version is None else (int(version),) * count
    if len(versions) != count:
        raise EngineError(f"the server returned {count} tokens, but {len(versions)} versions")
    return tuple(map(int, versions))


def _check_counts(ids: Sequence[int], logprobs: Sequence[float], most: int) -> None:
    if len(ids) != len(logprobs):
        raise EngineError(
            f"the server returned {len(ids)} token ids but {len(logprobs)} log-probabilities",
            _NO_IDS if not ids else None,
        )
    if len(ids) > most:
        raise EngineError(f"the server returned {len(ids)} tokens, {most} were asked for")
    if not all(math.isfinite(value) for value in logprobs):
        raise EngineError("the server returned a log-probability that is no finite number")


def _parse_token(token: str) -> int:
    if not token.startswith(TOKEN_PREFIX):
        raise ValueError(f"{token!r} is no token id")
    return int(token.removeprefix(TOKEN_PREFIX))


def _echoed_scores(choice: Mapping[str, Any], ids: list[int]) -> Scores:
    """Read ``echo`` answers; tokens beyond the prompt, which some servers add, are ignored."""
    try:
        logprobs = choice["logprobs"]["token_logprobs"][1 : len(ids)]
        tops = choice["logprobs"]["top_logprobs"][1 : len(ids)]
        greedy = [_parse_token(max(top, key=top.__getitem__)) for top in tops]
        return _scores(ids, [float(value) for value in logprobs], greedy)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise EngineError(
            f"the server does not echo log-probabilities and token ids: {error!r}",
            "try engine.score_style=prompt_logprobs, or another server",
        ) from error


def _prompt_scores(choice: Mapping[str, Any], ids: list[int]) -> Scores:
    try:
        entries = choice["prompt_logprobs"][1 : len(ids)]
        logprobs = [float(top[str(token)]["logprob"]) for top, token in zip(entries, ids[1:])]
        greedy = [int(max(top.items(), key=_logprob_of)[0]) for top in entries]
        return _scores(ids, logprobs, greedy)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise EngineError(
            f"the server returns no prompt_logprobs: {error!r}",
            "try engine.score_style=echo, or another server",
        ) from error


def _logprob_of(entry: tuple[str, Mapping[str, Any]]) -> float:
    return float(entry[1]["logprob"])


def _scores(ids: list[int], logprobs: list[float], greedy: list[int]) -> Scores:
    _check_counts(greedy, logprobs, len(ids))
    if len(logprobs) != len(ids) - 1:
        raise EngineError(f"the server scored {len(logprobs) + 1} of {len(ids)} tokens")
    return Scores((0.0, *logprobs), (-1, *greedy))
