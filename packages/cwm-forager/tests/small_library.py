"""A module of small functions, one of which no test reaches, and its tests."""

LIBRARY = """\
def total(values):
    result = 0
    for value in values:
        result = result + value
    return result


def biggest(values):
    best = values[0]
    for value in values:
        if value > best:
            best = value
    return best


def same(value):
    return value


def unreached(value):
    return value + 1
"""
TESTS = """\
import lib


def test_total():
    assert lib.total([1, 2, 3]) == 6


def test_biggest():
    assert lib.biggest([1, 5, 2]) == 5


def test_same():
    assert lib.same(4) == 4
"""
