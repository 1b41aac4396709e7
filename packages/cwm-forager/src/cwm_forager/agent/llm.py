"""An agent behind an engine: the next prompt is the concatenation of all tokens so far."""

from __future__ import annotations

from cwm_core.engine.base import Engine, SamplingParams
from cwm_core.env.environment import Action, Observation
from cwm_core.errors import ConfigError, DataError
from cwm_core.text.special_tokens import SPECIAL_TOKENS, STOP_TOKENS
from cwm_forager.agent.config import Llm


class LlmAgent:
    """Continues what it was shown; nothing is ever tokenised twice.

    Raises:
        ConfigError: there is no engine.
    """

    def __init__(self, config: Llm, engine: Engine | None) -> None:
        if engine is None:
            raise ConfigError("the agent 'llm' needs an engine", "give engine=openai or engine=...")
        self.config, self.engine = config, engine
        self.stops = _stop_ids(config, engine)

    async def act(
        self, observations: tuple[Observation, ...], actions: tuple[Action, ...]
    ) -> Action:
        """Generate the next action.

        Raises:
            DataError: an observation has no token ids.
            EngineError: from the engine.
        """
        ids = list(context_ids(observations, actions))
        config = self.config
        params = SamplingParams(
            max_tokens=max(1, min(config.max_tokens, config.context_tokens - len(ids))),
            temperature=config.temperature,
            top_p=config.top_p,
            stop_token_ids=self.stops,
            seed=None if config.seed is None else config.seed + len(actions),
        )
        made = await self.engine.generate(ids, params)
        return Action(
            made.text, made.token_ids, made.logprobs, made.finish_reason, made.model_versions
        )


def context_ids(
    observations: tuple[Observation, ...], actions: tuple[Action, ...]
) -> tuple[int, ...]:
    """Concatenate the token ids of an episode, in the order of play."""
    turns: list[Observation | Action] = [observations[0]]
    for action, observation in zip(actions, observations[1:], strict=True):
        turns += [action, observation]
    ids: list[int] = []
    for turn in turns:
        if turn.token_ids is None and turn.text:
            raise DataError(
                "a turn has no token ids, which the agent 'llm' needs",
                "give the environment a tokenizer: tokenizer=DIR",
            )
        ids += turn.token_ids or ()
    return tuple(ids)


def _stop_ids(config: Llm, engine: Engine) -> tuple[int, ...]:
    from cwm_core.text.tokenizer import Tokenizer

    own = getattr(engine, "tokenizer", None)
    tokenizer = Tokenizer.load(config.tokenizer) if config.tokenizer is not None else own
    if tokenizer is None:
        return tuple(SPECIAL_TOKENS[name] for name in STOP_TOKENS)
    return tuple(tokenizer.special_id(name) for name in STOP_TOKENS)
