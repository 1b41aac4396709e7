"""Families of string inputs: what their characters are, and how a value is drawn."""

from cwm_tracer.programs.generator.names import LETTERS, WORDS
from cwm_tracer.programs.generator.rng import Rng

ALPHABETS = {
    "letters": LETTERS,
    "mixed": "abc12",
    "cased": "abABc",
    "digits": "0123579",
    "moves": "UDLR",
    "bits": "01",
    "brackets": "()[]",
    "words": "aeot ",
    "numbers": "1234,",
    "fields": "ab12,",
    "signs": "+-*",
}

GROUPS = {
    "letters": ("aeiou", "abc", "ae", "bd"),
    "mixed": ("12", "ab", "ac"),
    "cased": ("AB", "ab", "aA"),
    "digits": ("02", "13579", "57"),
    "moves": ("UD", "LR", "UL"),
    "bits": ("1",),
    "brackets": ("([", ")]", "()"),
    "words": ("aeiou", " "),
    "numbers": (",", "12"),
    "fields": (",", "ab"),
    "signs": ("+-", "*"),
}

PAIRED = {")": "(", "]": "["}


def draw_text(rng: Rng, flavour: str, length: int) -> str:
    """A text of the family with about `length` characters."""
    if flavour == "words":
        return " ".join(rng.pick(WORDS) for _ in range(max(1, length // 4)))
    if flavour == "numbers":
        return ",".join(str(rng.between(0, 20)) for _ in range(max(1, (length + 1) // 3)))
    if flavour == "fields":
        return ",".join(field(rng) for _ in range(max(1, (length + 1) // 3)))
    if flavour == "brackets":
        return brackets(rng, length)
    if flavour == "letters" and rng.chance(0.4):
        return rng.pick(WORDS) if length >= 3 else rng.pick(LETTERS)
    alphabet = ALPHABETS[flavour]
    return "".join(rng.pick(alphabet) for _ in range(length))


def field(rng: Rng) -> str:
    """A token that is a number, mostly."""
    return str(rng.between(0, 15)) if rng.chance(0.7) else rng.pick(("a", "b", "x", ""))


def brackets(rng: Rng, length: int) -> str:
    """A bracket text that is balanced about every other time."""
    text, open_ = "", ""
    while len(text) + len(open_) < length:
        if open_ and rng.chance(0.45):
            text, open_ = text + open_[-1], open_[:-1]
        else:
            both = rng.pick(("()", "[]", "()"))
            text, open_ = text + both[0], open_ + both[1]
    text += open_[::-1]
    if rng.chance(0.5) and text:
        cut = rng.below(len(text))
        text = text[:cut] + text[cut + 1 :]
    return text
