"""The types that generated programs compute with, and the typed things that carry them."""

from dataclasses import dataclass

INT = "int"
BOOL = "bool"
STR = "str"
CHAR = "char"  # a string of length one
INTS = "list[int]"
STRS = "list[str]"
TALLY = "dict[str, int]"
INTMAP = "dict[int, int]"
INTSET = "set[int]"
PAIR = "tuple[int, int]"
PAIRS = "list[tuple[str, int]]"
GRID = "list[list[int]]"

SHARED = "shared"  # flavour of a variable that an inner function changes
SIZED = (INTS, STR, STRS, TALLY, INTMAP, INTSET, PAIRS, GRID)

# Binding strength of an expression's outermost operator, weakest first.
TERNARY, OR, AND, NOT, COMPARE, ADD, MUL, UNARY, ATOM = range(9)


@dataclass(slots=True)
class Var:
    """A variable in scope. `lo`..`hi` bound an int (softly); `size` bounds a length."""

    name: str
    kind: str
    lo: int = 0
    hi: int = 0
    size: int = 0
    filled: bool = False  # never empty
    strict: bool = False  # a parameter whose upper bound its function relies on
    steady: bool = False  # never assigned again, so its bounds are facts
    mult: float = 1.0  # how often its block runs, to scale updates in inner loops
    uses: int = 0
    flavour: str = ""  # which family of texts a string input belongs to


@dataclass(slots=True)
class Expr:
    """A typed piece of source text."""

    text: str
    kind: str
    lo: int = 0
    hi: int = 0
    size: int = 0
    prec: int = ATOM

    def at(self, prec: int) -> str:
        """The text, in parentheses if it binds weaker than `prec`."""
        return self.text if self.prec >= prec else f"({self.text})"

    @property
    def reach(self) -> int:
        """The largest absolute value that an int expression may have."""
        return max(abs(self.lo), abs(self.hi))


@dataclass(slots=True)
class Func:
    """A helper function that later code may call."""

    name: str
    params: tuple[Var, ...]
    returns: Expr  # kind and bounds of the result; the text is unused
    cost: float  # expected trace events of one call
    worst: float  # upper estimate of the same
    raises: str = ""  # exception it may raise, "" for none
    yields: bool = False  # a generator function; `returns` describes one item, its size the count
