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
        """Go on with the weights of a model directory, which the server must be able to read."""
        for path, body in _requests(self._api, weights, version):
            await self._call(self._connect(), "post", self._address(path), body)
        self._version = version

    def _address(self, path: str) -> str:
        """Return where a path of the server, not of its API's version, is."""
        return f"{self.base_url.removesuffix('/').removesuffix('/v1')}{path}"


def _requests(api: Api, weights: Path, version: int) -> list[tuple[str, dict[str, Any]]]:
    """Return the requests that replace the weights, in order.

    Requests in flight are paused and go on with the new weights. vLLM needs VLLM_SERVER_DEV_MODE=1.
    """
    path = str(weights)
    if api == "vllm":
        reload = {"method": "reload_weights", "kwargs": {"weights_path": path}}
        return [
            ("/pause?mode=keep&clear_cache=false", {}),
            ("/collective_rpc", reload),
            ("/resume", {}),
        ]
    if api == "sglang":
        update = {"model_path": path, "weight_version": str(version), "flush_cache": False}
        return [
            ("/pause_generation", {"mode": "in_place"}),
            ("/update_weights_from_disk", update),
            ("/continue_generation", {}),
        ]
    return [("/v1/update_weights", {"weights": path, "version": version})]
