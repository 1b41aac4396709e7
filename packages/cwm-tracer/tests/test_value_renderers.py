"""Value renderers of third parties, and arrays, in traces."""

import sys
from typing import ClassVar

import pytest

from cwm_core.errors import ConfigError
from cwm_core.plugins import registry
from cwm_core.testing.value_renderers import ValueRendererConformance
from cwm_tracer import trace
from cwm_tracer.capture.located import located
from cwm_tracer.capture.renderers import ValueRenderer

PLUGIN = """
from cwm_core.hookspecs import hookimpl
from cwm_core.plugins import Component

@hookimpl
def cwm_value_renderers():
    return [Component("odd", "odd_config:Odd", "Odd things.")]
"""
CONFIG = """
from cwm_core.plugins import ComponentConfig

class Odd(ComponentConfig):
    '''Odd things.'''

    target: str = "odd_values:show"
    '''What renders them.'''

    def build(self):
        from cwm_tracer.capture.renderers import ValueRenderer

        return ValueRenderer(("program:Base", "fractions:Fraction", "decimal:Decimal"), self.target)
"""
VALUES = """
def show(value, part):
    name = type(value).__name__
    if name == "Fraction":
        return f"{part.value(value.numerator)}/{part.value(value.denominator)}"
    if name == "Decimal":
        return "d" * 100_000
    what = value.what
    if what == "raise":
        raise KeyError("no")
    if what == "number":
        return 3
    if what == "empty":
        return " "
    if what == "deep":
        return f"Base<{part.fields([('a', [1, 2])], 1)} {part.items([3, value], 2)}>"
    return f"Base<{what}>\\x1e\\x1f"

def broken(value
"""
SOURCE = """
from fractions import Fraction
from decimal import Decimal
class Base:
    def __init__(self, what):
        self.what = what
class Derived(Base):
    pass
def f(x):
    return x
"""


@pytest.fixture
def shown(make_plugin):
    values = VALUES.replace("def broken(value\n", "")
    make_plugin(
        "odd", {"odd_plugin": PLUGIN, "odd_config": CONFIG, "odd_values": values}, "odd_plugin"
    )

    def run(expression, **options):
        odd = registry().make("value_renderers", "odd")
        return trace(SOURCE, input=expression, renderers=[odd], **options)

    return run


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ("Base('x')", "Base<x>\\x1e\\x1f"),
        ("[Derived('x')]", "[Base<x>\\x1e\\x1f]"),
        ("Base('raise')", "Base(what='raise')<renderer raised KeyError>"),
        ("Base('number')", "Base(what='number')<renderer gave no text>"),
        ("Base('empty')", "Base(what='empty')<renderer gave no text>"),
        ("Base('deep')", "Base<a=[1, 2] 3, Base(...)>"),
        ("{1: Fraction(1, 3)}", "{1: 1/3}"),
        ("Decimal(1)", "d" * 8192 + "<+91808 more>"),
        ("3", "3"),
    ],
)
def test_texts(shown, expression, text):
    assert shown(expression).frames[-1].value == text


def test_without_a_fork_server_too(shown):
    assert shown("Fraction(1, 3)", fork=False).frames[-1].value == "1/3"


def test_what_cannot_be_loaded_is_a_reason(make_plugin):
    modules = {"odd_plugin": PLUGIN, "odd_config": CONFIG, "odd_values": VALUES}
    make_plugin("odd", modules, "odd_plugin")
    odd = registry().make("value_renderers", "odd")
    found = trace(SOURCE, input="1", renderers=[odd])
    assert found.outcome == "tracer_lost"
    assert "value renderer" in found.reason and "SyntaxError" in found.reason


@pytest.mark.parametrize(
    ("renderer", "reason"),
    [
        (ValueRenderer(("decimal.Decimal",), "json:dumps"), "decimal.Decimal"),
        (ValueRenderer(("decimal:Decimal",), "json"), "json"),
        (ValueRenderer(("decimal:Decimal",), "no_such_module:f"), "no file"),
        (ValueRenderer(("decimal:Decimal",), "math:floor"), "no file"),
    ],
)
def test_names_that_mean_nothing_are_refused(renderer, reason):
    with pytest.raises(ConfigError, match=reason):
        located(renderer)


FRACTIONS = """
from cwm_core.hookspecs import hookimpl
from cwm_core.plugins import Component

@hookimpl
def cwm_value_renderers():
    return [Component("fractions", "ratios:Ratios", "Fractions.")]
"""


@pytest.fixture
def ratios(make_plugin):
    config = CONFIG.replace("Odd", "Ratios").replace("odd_values", "ratio_values")
    modules = {
        "ratio_plugin": FRACTIONS,
        "ratios": config,
        "ratio_values": VALUES.split("def b")[0],
    }
    make_plugin("ratios", modules, "ratio_plugin")


@pytest.mark.usefixtures("ratios")
class TestFractions(ValueRendererConformance):
    component = "fractions"
    setup = "from fractions import Fraction"
    examples: ClassVar = {"Fraction(1, 3)": "1/3"}


NUMPY = [
    ("arange(6).reshape(2, 3)", "ndarray([[0, 1, 2], [3, 4, 5]], dtype=int64)"),
    ("float32([0.1, 2])", "ndarray([0.1, 2.0], dtype=float32)"),
    ("zeros((0, 3))", "ndarray([], dtype=float64, shape=(0, 3))"),
    ("array(5)", "ndarray(5, dtype=int64)"),
    ("array(['a'])", "ndarray(['a'], dtype=<U1)"),
    ("array([{1: 2}, None])", "ndarray([{1: 2}, None], dtype=object)"),
    ("float64(1.5)", "np.float64(1.5)"),
    ("float32(0.1)", "np.float32(0.1)"),
    ("int8(3)", "np.int8(3)"),
    ("dtype('int8')", "dtype('int8')"),
]


def test_numpy():
    numpy = pytest.importorskip("numpy")
    from cwm_tracer.capture.values import Renderer, elided

    renderer = Renderer()
    for expression, text in NUMPY:
        assert renderer.text(eval(expression, vars(numpy))) == text
    large = numpy.zeros((100, 100))
    before = renderer.text([large])
    assert before.startswith("[ndarray(<+10000 more>, dtype=float64, shape=(100, 100), digest=")
    assert elided(before) == 10_000
    assert renderer.text([large.T.copy().T]) == before
    large[3, 4] = 1
    assert renderer.text([large]) != before
    huge = renderer.text(numpy.zeros(1_000_000))
    assert "sampled=" in huge and renderer.text(numpy.ones(1_000_000)) != huge


class Loud:
    """What calls itself an array is asked nothing."""

    def __getattr__(self, name):
        raise AssertionError(name)


def test_modules_that_only_look_like_numpy(monkeypatch):
    from cwm_tracer.capture.values import Renderer

    monkeypatch.setitem(sys.modules, "numpy", Loud())
    monkeypatch.setitem(sys.modules, "torch", Loud())
    assert Renderer().text(Loud()) == "<Loud object #1>"


@pytest.mark.slow
def test_torch():
    torch = pytest.importorskip("torch")
    from cwm_tracer.capture.values import Renderer, elided

    renderer = Renderer()
    show = renderer.text
    assert show(torch.tensor([[1.5, 2]])) == "Tensor([[1.5, 2.0]], dtype=float32)"
    assert show(torch.ones(2, requires_grad=True)) == (
        "Tensor([1.0, 1.0], dtype=float32, requires_grad=True)"
    )
    large = torch.zeros(10, 100)
    before = show(large)
    assert before.startswith(
        "Tensor(<+1000 more>, dtype=float32, shape=(10, 100), device=cpu, digest="
    )
    assert elided(before) == 1000
    large[3, 3] = 1
    assert show(large) != before
    assert show(torch.zeros(3, device="meta")) == "Tensor(<+3 more>, dtype=float32, device=meta)"
    assert show(torch.zeros(2, dtype=torch.bfloat16)) == "Tensor([0.0, 0.0], dtype=bfloat16)"
    assert show(torch.float32) == "torch.float32"
    assert show(torch.device("cpu")) == "device(type='cpu')"
