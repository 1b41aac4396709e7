"""The special tokens: Llama 3's 256 reserved ids with the names that CWM gives to some of them."""

from __future__ import annotations

import re
from typing import Final

BEGIN_OF_TEXT: Final = "<|begin_of_text|>"
END_OF_TEXT: Final = "<|end_of_text|>"
PAD: Final = "<|pad|>"
START_HEADER: Final = "<|start_header_id|>"
END_HEADER: Final = "<|end_header_id|>"
EOM: Final = "<|eom_id|>"
EOT: Final = "<|eot_id|>"

FRAME_SEP: Final = "<|frame_sep|>"
ACTION_SEP: Final = "<|action_sep|>"
RETURN_SEP: Final = "<|return_sep|>"
CALL_SEP: Final = "<|call_sep|>"
LINE_SEP: Final = "<|line_sep|>"
EXCEPTION_SEP: Final = "<|exception_sep|>"
ARG_SEP: Final = "<|arg_sep|>"
TRACE_CONTEXT_START: Final = "<|trace_context_start|>"

REASONING_START: Final = "<|reasoning_thinking_start|>"
REASONING_END: Final = "<|reasoning_thinking_end|>"

FIRST_SPECIAL_ID: Final = 128_000
SPECIAL_COUNT: Final = 256

NAMED_TOKENS: Final[dict[str, int]] = {
    BEGIN_OF_TEXT: 128_000,
    END_OF_TEXT: 128_001,
    PAD: 128_004,
    START_HEADER: 128_006,
    END_HEADER: 128_007,
    EOM: 128_008,
    EOT: 128_009,
    FRAME_SEP: 128_100,
    ACTION_SEP: 128_101,
    RETURN_SEP: 128_102,
    CALL_SEP: 128_103,
    LINE_SEP: 128_104,
    EXCEPTION_SEP: 128_105,
    ARG_SEP: 128_106,
    TRACE_CONTEXT_START: 128_107,
    REASONING_START: 128_120,
    REASONING_END: 128_121,
}
"""The tokens that have a meaning, with their ids in CWM; every tokenizer of the stack has them."""

STOP_TOKENS: Final = (END_OF_TEXT, EOM, EOT)
"""What ends a generation: CWM's `eos_token_id` is 128001, 128008, 128009."""


def _reserved_number(token_id: int) -> int:
    """Number of an unnamed id in Llama 3's table, which skips the tokens that Llama 3 named."""
    offset = token_id - FIRST_SPECIAL_ID
    return offset - 2 if offset < 6 else offset - 4 if offset < 9 else offset - 5


def _table() -> dict[str, int]:
    names = {token_id: name for name, token_id in NAMED_TOKENS.items()}
    every = range(FIRST_SPECIAL_ID, FIRST_SPECIAL_ID + SPECIAL_COUNT)
    return {names.get(i, f"<|reserved_special_token_{_reserved_number(i)}|>"): i for i in every}


SPECIAL_TOKENS: Final[dict[str, int]] = _table()
"""All 256 names with their ids, in the order of the ids."""

SPECIAL_PATTERN: Final = re.compile(
    r"<\|(?:reserved_special_token_\d+|"
    + "|".join(re.escape(name[2:-2]) for name in NAMED_TOKENS)
    + r")\|>"
)
"""Matches the text of any special token."""
