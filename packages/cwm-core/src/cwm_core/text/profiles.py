"""How texts are split before byte-pair merging: no token ever spans two matches of a pattern.

The one place for these settings; `train_bpe(profile=...)` takes a name of `PROFILES`. Patterns are
written for Oniguruma, which `tokenizers` uses. Whatever a pattern leaves unmatched is a piece too,
so every text round-trips.
"""

from __future__ import annotations

from typing import Final

LLAMA3: Final = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""The split of Llama 3, hence of CWM."""

_JSON_GLUE: Final = r'": "\.\.", "|": "\.\."\}|": "|", "|"\}|\{"'
_INDENTATION: Final = r"(?: {4})+"
_KEYWORDS: Final = (
    r" (?:in|if|else|and|or|not in|is not|is) "
    r"|\b(?:for|if|elif|while|return|def|class|except|not|raise|lambda|from|import) "
)
_NAMES: Final = r"[A-Za-z_]+"
_LINE_END: Final = r"[\]\)]*:?\n"
_OPERATORS: Final = r" [+\-*/%<>=!&|^]+ |, |: "
_BRACKETS: Final = r"[\(\[]+|[\]\)]"
_QUOTED_LETTER: Final = r"[A-Za-z](?=[A-Za-z]*')"

TRACE: Final = "|".join(
    (
        _JSON_GLUE,
        _INDENTATION,
        _KEYWORDS,
        r"\d",
        _QUOTED_LETTER,
        _NAMES,
        _OPERATORS,
        _LINE_END,
        _BRACKETS,
        r"[^\sA-Za-z0-9_]",
        r"\s",
    )
)
"""For small models of traces.

A name is the same token wherever it stands, without a space before it; digits and the letters of
quoted text stand alone, so that arithmetic and string operations are seen per character; the
punctuation between JSON entries (with ``".."`` for an unchanged value), an indentation, an operator
with its spaces, or the end of a line can each become one token.
"""

PROFILES: Final[dict[str, str]] = {"trace": TRACE, "llama3": LLAMA3}
