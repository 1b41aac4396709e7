"""What a worker does: tell a batch of traces, and decide which accounts are kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from cwm_core.data.records import TraceRecord
from cwm_tracer.narrate.check import objection
from cwm_tracer.narrate.config import NarrateConfig
from cwm_tracer.narrate.records import NarrationRecord
from cwm_tracer.narrate.rewrite import Rewriter
from cwm_tracer.narrate.rules import Narration, narrate


@dataclass(frozen=True, slots=True)
class Order:
    """A trace to tell, as its row, and with which seed."""

    narration_id: str
    row: Mapping[str, Any]
    seed: int


@dataclass(frozen=True, slots=True)
class Told:
    """Result of an order: a row, or why there is none."""

    narration_id: str
    row: dict[str, Any] | None
    dropped: str = ""


@dataclass(frozen=True, slots=True)
class TellBatch:
    """Tells batches of traces; picklable."""

    config: NarrateConfig

    def __call__(self, batch: list[Order]) -> list[Told]:
        """Tell every trace of a batch.

        Raises:
            EngineError: the engine cannot be reached.
            ConfigError: there is no tokenizer for it.
        """
        if self.config.engine is None:
            return [self._by_rules(order) for order in batch]
        return _rewritten(self.config, [(order, *self._told(order)) for order in batch])

    def _told(self, order: Order) -> tuple[TraceRecord, Narration]:
        record = TraceRecord.from_row(order.row)
        return record, narrate(record, order.seed, self.config.max_value)

    def _by_rules(self, order: Order) -> Told:
        record, narration = self._told(order)
        return filed(self.config, order, record, narration, "rules")


def filed(
    config: NarrateConfig, order: Order, record: TraceRecord, narration: Narration, style: str
) -> Told:
    """Return a narration as a row, unless it is too long."""
    text = narration.text
    if config.max_chars is not None and len(text) > config.max_chars:
        return Told(order.narration_id, None, "too long")
    row = NarrationRecord(
        narration_id=order.narration_id,
        trace_id=record.trace_id,
        program_id=record.program_id,
        split=record.split,
        origin=record.origin,
        style=style,
        seed=order.seed,
        text=text,
        prompt=narration.prompt,
        answer=narration.answer,
    )
    return Told(order.narration_id, row.to_row())


def _rewritten(
    config: NarrateConfig, batch: list[tuple[Order, TraceRecord, Narration]]
) -> list[Told]:
    from cwm_core.env.concurrency import gather_bounded, run_sync

    async def one(item: tuple[Order, TraceRecord, Narration]) -> Told:
        order, record, narration = item
        account = await rewriter.rewrite(narration, order.seed)
        if account is None:
            return Told(order.narration_id, None, "cut off")
        reason = objection(account, narration, record)
        if reason is not None:
            return Told(order.narration_id, None, reason)
        told = replace(narration, account=account.strip())
        return filed(config, order, record, told, "model")

    async def everything() -> list[Told]:
        try:
            gathered = await gather_bounded(one, batch, limit=config.rewrite.concurrency)
        finally:
            await rewriter.engine.close()
        for failure in gathered.failures:
            raise failure.error
        return gathered.in_order()

    rewriter = rewriter_of(config)
    return run_sync(everything())


def rewriter_of(config: NarrateConfig) -> Rewriter:
    """Build the engine of a configuration, which must have one, and its tokenizer.

    Raises:
        ConfigError: neither the engine nor `rewrite.tokenizer` gives a tokenizer.
    """
    from cwm_core.engine.base import SamplingParams
    from cwm_core.engine.tokenizer import tokenizer_of

    assert config.engine is not None
    engine, options = config.engine.build(), config.rewrite
    tokenizer = tokenizer_of(engine, config.engine.name, options.tokenizer, "rewrite.tokenizer")
    params = SamplingParams(max_tokens=options.max_tokens, temperature=options.temperature)
    return Rewriter(engine, tokenizer, params, options.chat)
