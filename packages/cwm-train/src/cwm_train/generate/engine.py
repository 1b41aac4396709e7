"""The local engine: concurrent calls from any event loop share the batch of one worker thread."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cwm_core.engine.base import SamplingParams
from cwm_core.text.tokenizer import Tokenizer
from cwm_train.checkpoint.hf import check_weights, load_pretrained, read_weights
from cwm_train.generate.config import Local
from cwm_train.generate.memory import free_bytes
from cwm_train.generate.request import LocalCompletion, Request, Token, check_params, check_prompt
from cwm_train.generate.score import LocalScores
from cwm_train.generate.worker import GenerateJob, Job, Options, ScoreJob, Stats, UpdateJob, Worker
from cwm_train.loop.precision import has_fast_bf16
from cwm_train.model.cache import KVCache
from cwm_train.model.transformer import CwmForCausalLM


class LocalEngine:
    """Generates and scores with a model in this process.

    Requests join the running batch at the next step, in their order, and leave it when finished.
    Greedy tokens, and the tokens of a request with a seed, do not depend on what else is in the
    batch, except where rounding, which differs between batch sizes, decides between two tokens.
    Cancelling a call takes its request out of the batch at the next step.

    Raises:
        DataError: the prompt is empty, longer than the context, or outside the vocabulary.
        ConfigError: a sampling parameter is out of range.
        EngineError: the model's log-probabilities are no numbers.
        RunError: the engine was closed.
    """

    def __init__(
        self,
        model: CwmForCausalLM,
        tokenizer: Tokenizer,
        options: Options | None = None,
        version: int = 0,
    ) -> None:
        self.model, self.tokenizer = model, tokenizer
        self._worker = Worker(model, options or Options(), version)

    @property
    def stats(self) -> Stats:
        """Counters, as of the last step."""
        return self._worker.stats

    @property
    def alive(self) -> bool:
        """Whether the engine takes requests."""
        return self._worker.alive

    async def generate(
        self, prompt_ids: Sequence[int], params: SamplingParams, top_logprobs: int = 0
    ) -> LocalCompletion:
        """Continue `prompt_ids`; `top_logprobs` of the likeliest tokens are reported per step."""
        request = self._request(prompt_ids, params, top_logprobs)
        await self._run(GenerateJob(request))
        return request.completion(self.tokenizer.decode(request.token_ids))

    async def stream(
        self, prompt_ids: Sequence[int], params: SamplingParams, top_logprobs: int = 0
    ) -> AsyncGenerator[Token, None]:
        """Yield the tokens as they come; closing the iterator cancels the request."""
        loop, tokens = asyncio.get_running_loop(), asyncio.Queue[Token | None]()
        request = self._request(prompt_ids, params, top_logprobs)
        job = GenerateJob(request)

        def post(token: Token | None) -> None:
            try:
                loop.call_soon_threadsafe(tokens.put_nowait, token)
            except RuntimeError:  # the reader's event loop is gone, and so is the reader
                job.future.cancel()

        request.on_token = post
        job.future.add_done_callback(lambda future: post(None))
        self._worker.submit(job)
        try:
            while (token := await tokens.get()) is not None:
                yield token
            job.future.result()
        finally:
            job.future.cancel()

    async def score(self, token_ids: Sequence[int]) -> LocalScores:
        """Score a whole sequence."""
        check_prompt(token_ids, self.model.config, room=0)
        scores: LocalScores = await self._run(ScoreJob(list(token_ids)))
        return scores

    async def update_weights(self, weights: Path | Mapping[str, Tensor], version: int) -> None:
        """Replace the weights between two steps; later tokens carry `version`.

        `weights` is a model directory or a state dict. Sequences under way go on, with their keys
        and values kept or computed again as configured (`Local.after_update`).

        Raises:
            DataError: the directory is no model's, or a weight is missing, unknown or of another
                shape; then nothing has changed.
        """
        if isinstance(weights, Path):
            where, found = weights, await asyncio.to_thread(read_weights, weights)
        else:
            where, found = Path("the given weights"), dict(weights)
        if self.model.config.tie_word_embeddings and "model.embed_tokens.weight" in found:
            found.setdefault("lm_head.weight", found["model.embed_tokens.weight"])
        check_weights(self.model, found, where)
        await self._run(UpdateJob(found, version))

    async def close(self) -> None:
        """Stop the worker; calls that still wait fail with `RunError`."""
        await asyncio.to_thread(self._worker.close)

    def _request(
        self, prompt_ids: Sequence[int], params: SamplingParams, top_logprobs: int
    ) -> Request:
        check_prompt(prompt_ids, self.model.config)
        check_params(params)
        return Request(list(prompt_ids), params, top_logprobs)

    async def _run(self, job: Job) -> Any:
        self._worker.submit(job)
        return await asyncio.wrap_future(job.future)


def build_engine(config: Local) -> LocalEngine:
    """Load the model that a config names; raise `DataError` if it is none."""
    if config.threads:
        torch.set_num_threads(config.threads)
    name = config.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(name)
    dtype_name = config.dtype
    if dtype_name == "auto":
        dtype_name = "bfloat16" if has_fast_bf16(device) else "float32"
    model, tokenizer = load_pretrained(
        config.checkpoint, device=device, dtype=getattr(torch, dtype_name)
    )
    return LocalEngine(model, tokenizer, _options(config, model))


def _options(config: Local, model: CwmForCausalLM) -> Options:
    weight = model.lm_head.weight
    free = free_bytes(weight.device)
    options = Options(
        max_batch=config.max_batch,
        cache_tokens=free // 2 // KVCache.bytes_per_token(model.config, weight.dtype),
        prefix_bytes=free // 8,
        prefill_chunk=config.prefill_chunk,
        recompute=config.after_update == "recompute",
        max_score_tokens=config.max_score_tokens,
        batch_invariant=config.batch_invariant,
        native=config.native,
    )
    if config.cache_tokens is not None:
        options = replace(options, cache_tokens=config.cache_tokens)
    if config.prefix_mib is not None:
        options = replace(options, prefix_bytes=config.prefix_mib * 2**20)
    return options
