r"""When two mathematical answers are the same: two graders, either of which may say yes.

The first compares texts after the normalisation that the MATH data set's own evaluation uses, and
numbers exactly. The second is `math-verify`, which parses LaTeX and compares with SymPy; it forgets
some distinctions that matter, so guards stand before it:

- an answer of several parts has as many parts as the right one (``1,1`` is not ``1``);
- ordered is not unordered (``(1, 2)`` is not ``\{1, 2\}``);
- a rounded decimal is not an exact number (``0.3333333`` is not ``1/3``);
- numerals of two bases, and units to two powers, are not the same (``52_8`` is not ``52_9``);
- without anything but words, only the same words are right.
"""

from __future__ import annotations

import re
from fractions import Fraction

_WORDS = re.compile(r"\\(?:text|mathrm|textbf|mbox)\s*\{([^{}]*)\}")
_DROPPED = (
    *("\\left", "\\right", "\\!", "\\,", "\\;", "\\:", "\\ ", "\\$", "$", "\\displaystyle"),
    *("^\\circ", "^{\\circ}", "°", "\\%", "%", "\\quad", "~"),
)
_UNITS = re.compile(
    r"\\(?:text|mbox|mathrm)\s*\{\s*(?:[a-z. ]*(?:inch|feet|foot|meter|mile|cent|dollar|unit|"
    r"degree|second|minute|hour|day|year|square|cubic|pound|gram|percent|cm|km|mph|ml|liter)"
    r"[a-z. ]*)\s*\}"
    r"(?:\^\{?([23])\}?)?"
)
_BASE = re.compile(r"-?[\dA-Fa-f]+_\{?(\d+)\}?")
_FRACTION = re.compile(r"\\[dt]?frac\s*(\d)\s*(\d)")
_SIMPLE = re.compile(r"-?\\frac\{(-?\d+)\}\{(-?\d+)\}|(-?\d+)/(-?\d+)|-?\d+(?:\.\d+)?|-?\.\d+")
_MIXED = re.compile(r"(-?)(\d+)\\frac\{(\d+)\}\{(\d+)\}")
_OPEN, _CLOSE = "([{", ")]}"


def same_answer(gold: str, answer: str) -> bool:
    """Whether `answer` is what `gold` says; both LaTeX without a box."""
    left, right = normalised(gold), normalised(answer)
    if not right or _contradictory(gold, answer, left, right):
        return False
    if left == right or _same_numbers(left, right):
        return True
    return _comparable(left, right) and _verified(gold, answer)


def normalised(text: str) -> str:
    r"""Return a text without what does not change a mathematical answer.

    After `strip_string` of the MATH repository (Hendrycks et al. 2021).
    """
    text = text.strip().strip(".").replace("\n", " ")
    text = re.sub(r"^\\(?:boxed|fbox)\s*\{(.*)\}$", r"\1", text)
    text = _UNITS.sub("", text)
    for word in _DROPPED:
        text = text.replace(word, "")
    text = text.replace("\\dfrac", "\\frac").replace("\\tfrac", "\\frac")
    text = text.replace("\\{", "{").replace("\\}", "}").replace("\\le ", "\\leq ")
    text = _FRACTION.sub(r"\\frac{\1}{\2}", text)
    text = re.sub(r"\\sqrt\s*(\w)", r"\\sqrt{\1}", text)
    text = re.sub(r"(?<=\d),(?=\d{3}(?!\d))(?!.*[()\[\]{}])", "", text)
    text = _WORDS.sub(r"\1", text)
    text = re.sub(r"^[a-zA-Z]\s*(?:=|\\in)\s*", "", text)
    return re.sub(r"\s+", "", text)


def _contradictory(gold: str, answer: str, left: str, right: str) -> bool:
    """Whether both say a base of a numeral, or a unit, and not the same base or power."""
    bases = [match and match[1] for match in (_BASE.fullmatch(left), _BASE.fullmatch(right))]
    powers = [[match or "1" for match in _UNITS.findall(text)] for text in (gold, answer)]
    return any(a and b and a != b for a, b in (bases, powers))


def _same_numbers(left: str, right: str) -> bool:
    numbers = exact_number(left), exact_number(right)
    return numbers[0] is not None and numbers[0] == numbers[1]


def exact_number(text: str) -> Fraction | None:
    r"""Return the number that an integer, decimal, ``a/b`` or ``\frac{a}{b}`` is, else None."""
    if len(text) > 400 or not (_SIMPLE.fullmatch(text) or _MIXED.fullmatch(text)):
        return None
    if mixed := _MIXED.fullmatch(text):
        return _mixed(*mixed.groups())
    plain = re.sub(r"\\frac\{(-?\d+)\}\{(-?\d+)\}", r"\1/\2", text)
    top, _, bottom = plain.partition("/")
    try:
        return Fraction(top) / (Fraction(bottom) if bottom else 1)
    except (ValueError, ZeroDivisionError):
        return None


def _mixed(sign: str, whole: str, top: str, bottom: str) -> Fraction | None:
    if int(bottom) == 0:
        return None
    value = int(whole) + Fraction(int(top), int(bottom))
    return -value if sign else value


def parts(text: str) -> list[str]:
    """Return what top-level commas separate, outer brackets taken off."""
    inner = text[1:-1] if brackets(text) else text
    found, depth, start = [], 0, 0
    for index, letter in enumerate(inner):
        depth += (letter in _OPEN) - (letter in _CLOSE)
        if letter == "," and depth == 0:
            found.append(inner[start:index])
            start = index + 1
    return [*found, inner[start:]]


def brackets(text: str) -> str:
    """Return the outer brackets of a text, such as ``(]``; empty without a pair around it all."""
    if len(text) < 2 or text[0] not in _OPEN or text[-1] not in _CLOSE:
        return ""
    depth = 0
    for index, letter in enumerate(text):
        depth += (letter in _OPEN) - (letter in _CLOSE)
        if depth == 0 and index < len(text) - 1:
            return ""
    return text[0] + text[-1]


def _comparable(left: str, right: str) -> bool:
    """The guards: whether a symbolic comparison of normalised texts may say yes at all."""
    if len(parts(left)) != len(parts(right)):
        return False
    outer = brackets(left), brackets(right)
    if len(parts(left)) > 1 and outer[0] != outer[1] and "" not in outer:
        return False
    if left.isalpha() or right.isalpha():
        return left.lower() == right.lower()
    return not (_is_decimal(right) and not _is_decimal(left) and exact_number(left) is None) and (
        exact_number(left) is None or exact_number(right) is None
    )


def _is_decimal(text: str) -> bool:
    return re.fullmatch(r"-?\d*\.\d+", text) is not None


def _verified(gold: str, answer: str) -> bool:
    from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse, verify

    targets = (LatexExtractionConfig(), ExprExtractionConfig())
    try:
        left = parse(f"${gold}$", extraction_config=targets, parsing_timeout=None)
        right = parse(f"$\\boxed{{{answer}}}$", extraction_config=targets, parsing_timeout=None)
        return bool(left and right and verify(left, right, float_rounding=12, timeout_seconds=None))
    except Exception:  # whatever SymPy makes of such a text, it is not the right answer
        return False
