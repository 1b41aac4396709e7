"""Engines behind HTTP, whose weights can be replaced while they generate.

`cwm serve` says for every token which version produced it. vLLM and SGLang do not: their tokens
get the version that was in use when the request began, the oldest that can be true.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cwm_core.engine.base import Completion, SamplingParams
from cwm_core.engine.config import OpenAIConfig
from cwm_core.engine.openai import OpenAIEngine
from cwm_rl.train_config import Api


class RemoteEngine(OpenAIEngine):
    """An `UpdatableEngine` behind an OpenAI-compatible server."""

    def __init__(self, base_url: str, api: Api, timeout_s: float) -> None:
        # the pool tries again, on another engine
        super().__init__(OpenAIConfig(base_url=base_url, timeout_s=timeout_s, retries=0))
        self.base_url, self._api = base_url, api
        self._version: int | None = None

    async def generate(self, prompt_ids: Sequence[int], params: SamplingParams) -> Completion:
        """Continue `prompt_ids`; raises EngineError when the server fails or answers wrongly."""
        version = self._version
        made = await super().generate(prompt_ids, params)
        if made.model_versions is None and version is not None:
            made = replace(made, model_versions=(version,) * len(made.token_ids))
        return made

    async def update_weights(self, weights: Path, version: int) -> None:
        """Go on with the weights of a model directory, which the server must be able to read.

        Requests in flight pause and go on with the new weights. vLLM needs
        VLLM_SERVER_DEV_MODE=1.
        """
        if self._api == "cwm":
            await super().update_weights(weights, version)
        elif self._api == "sglang":
            await self._ask("/pause_generation", {"mode": "in_place"})
            try:
                await super().update_weights(weights, version)
            finally:
                await self._ask("/continue_generation", {})
        else:
            await self._ask("/pause?mode=keep&clear_cache=false", {})
            try:
                reload = {"method": "reload_weights", "kwargs": {"weights_path": str(weights)}}
                await self._ask("/collective_rpc", reload)
            finally:
                await self._ask("/resume", {})
        self._version = version

    async def _ask(self, path: str, body: dict[str, Any]) -> None:
        """Post to a path of the server itself, which is not one of its API's version."""
        root = self.base_url.rstrip("/").removesuffix("/v1")
        await self._call(self._connect(), "post", f"{root}{path}", body)
