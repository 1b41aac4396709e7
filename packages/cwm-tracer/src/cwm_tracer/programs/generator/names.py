"""Pools of short names and words, by the role that they play."""

from cwm_tracer.programs.generator.kinds import (
    BOOL,
    CHAR,
    GRID,
    INT,
    INTMAP,
    INTS,
    INTSET,
    PAIR,
    PAIRS,
    STR,
    STRS,
    TALLY,
)

PARAMS = {
    INT: ("n", "k", "a", "b", "m", "x", "y", "num", "size", "limit", "start", "step"),
    STR: ("s", "text", "word", "line", "name", "code"),
    INTS: ("nums", "xs", "vals", "data", "arr", "items", "ys", "row"),
    STRS: ("words", "names", "parts", "keys", "tags"),
    TALLY: ("d", "stock", "prices", "table", "scores"),
    INTSET: ("marks", "ids"),
    PAIRS: ("pairs", "orders", "rows", "moves"),
    GRID: ("grid", "mat", "board"),
    BOOL: ("flag", "rev", "strict"),
    CHAR: ("ch", "c", "sep"),
    PAIR: ("p", "pos", "span"),
    INTMAP: ("memo", "links"),
}
LOCALS = {
    INT: ("a", "b", "y", "t", "z", "val", "cur", "diff", "base", "gap", "m", "r", "q", "w", "h"),
    STR: ("s", "t", "label", "msg", "tag", "part", "text", "head"),
    CHAR: ("c", "ch", "mark"),
    INTS: ("ys", "out", "left", "part", "vals", "tail", "order", "tmp"),
    STRS: ("words", "parts", "toks", "names"),
    TALLY: ("freq", "d", "info", "table"),
    INTMAP: ("memo", "seen", "index", "sq"),
    INTSET: ("seen", "uniq", "marks"),
    PAIR: ("p", "pair", "pos"),
    PAIRS: ("pairs", "ranked", "items"),
    GRID: ("rows", "grid", "table"),
    BOOL: ("ok", "flag", "found", "same", "odd"),
}
ACCS = {
    INT: ("total", "count", "acc", "res", "score", "s", "cnt", "bonus", "points"),
    STR: ("out", "res", "text", "acc", "buf"),
    INTS: ("out", "res", "kept", "found", "acc", "picked"),
    STRS: ("out", "res", "lines", "kept", "log"),
    TALLY: ("freq", "counts", "tally", "d"),
    INTMAP: ("counts", "freq", "last", "table"),
    INTSET: ("seen", "uniq", "used"),
    BOOL: ("ok", "found", "flag", "valid"),
}
BEST = ("best", "top", "peak", "low", "most")
ITEMS = {
    INT: ("x", "v", "num", "n", "y", "e"),
    CHAR: ("ch", "c"),
    STR: ("w", "word", "part", "name", "t"),
    INTS: ("row", "r", "line"),
}
INDEXES = ("i", "j", "k", "idx", "pos")
FUNCTIONS = (
    "solve",
    "run",
    "calc",
    "scan",
    "score",
    "tally",
    "fold",
    "pick",
    "check",
    "merge",
    "walk",
    "total",
    "trim",
    "rank",
    "pack",
    "shift",
    "build",
    "main",
    "work",
    "find",
    "mix",
    "apply",
)
HELPERS = {
    INT: ("weight", "cost", "adjust", "bump", "scale", "gain", "clamp", "points", "fix", "rate"),
    BOOL: ("is_ok", "valid", "keep", "test", "fits", "allow"),
    STR: ("label", "fmt", "clean", "wrap", "tag", "grade"),
    INTS: ("expand", "parts", "trim", "spread", "split"),
}
RECURSIVE = ("rec", "go", "dive", "count", "walk", "steps", "reduce", "depth", "unroll", "climb")
INNER = ("inner", "step", "add", "push", "apply", "move", "note")
YIELDERS = ("gen", "stream", "pairs", "steps", "ticks", "feed", "evens", "climb", "chunks")
WORDS = (
    "cat",
    "dog",
    "sun",
    "map",
    "key",
    "red",
    "ant",
    "owl",
    "bus",
    "cup",
    "pie",
    "jam",
    "net",
    "oak",
    "pen",
    "tea",
    "web",
    "ivy",
    "fox",
    "egg",
    "bee",
    "sky",
    "ice",
    "log",
    "gem",
)
LETTERS = "abcde"
