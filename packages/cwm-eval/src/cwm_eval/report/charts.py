"""Charts as inline SVG: colours come from the page's CSS variables, texts are escaped by the XML
writer, and each has a title for screen readers."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree import ElementTree as ET

from markupsafe import Markup

_WIDTH = 540
_ids = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Bar:
    """A labelled share (0 to 1) with its interval; NaN-free, `None` where unknown."""

    label: str
    value: float
    low: float | None
    high: float | None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Series:
    """A named line: points are (x, y)."""

    name: str
    points: Sequence[tuple[float, float]]


def bar_chart(title: str, bars: Sequence[Bar]) -> Markup:
    """Draw horizontal bars of shares with whiskers for the intervals."""
    row, left, right, top = 26, 132, 136, 8
    height = top + row * len(bars) + 24
    svg = _svg(title, _WIDTH, height)
    span = _WIDTH - left - right
    bottom = top + row * len(bars)
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        x = left + span * tick
        _line(svg, x, top, x, bottom, "grid")
        _text(svg, x, bottom + 16, f"{tick:.0%}", "tick", "middle")
    for index, bar in enumerate(bars):
        _bar(svg, bar, left, top + row * index, span, row)
    return _markup(svg)


def _bar(svg: ET.Element, bar: Bar, left: float, y: float, span: float, row: float) -> None:
    middle = y + row / 2
    group = ET.SubElement(svg, "g")
    _text(group, left - 10, middle + 4, _shorten(bar.label, 16), "label", "end")
    attributes = {"x": f"{left}", "y": f"{y + 6:.1f}", "height": f"{row - 12}", "class": "bar"}
    ET.SubElement(group, "rect", attributes | {"width": f"{max(span * bar.value, 0.5):.1f}"})
    if bar.low is not None and bar.high is not None:
        low, high = left + span * bar.low, left + span * bar.high
        _line(group, low, middle, high, middle, "whisker")
        for x in (low, high):
            _line(group, x, middle - 4, x, middle + 4, "whisker")
    _text(group, left + span + 12, middle + 4, f"{bar.value:.1%}", "value", "start")
    _text(group, _WIDTH, middle + 4, bar.note, "tick", "end")
    _tooltip(group, f"{bar.label}: {bar.value:.1%} {_interval(bar)} {bar.note}")


def column_chart(title: str, bars: Sequence[Bar], x_title: str) -> Markup:
    """Draw shares in order from left to right as points with interval bands, joined by a line."""
    left, right, top, height = 52, 16, 12, 270
    bottom = height - 52
    svg = _svg(title, _WIDTH, height)
    span = _WIDTH - left - right
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = bottom - (bottom - top) * tick
        _line(svg, left, y, _WIDTH - right, y, "grid")
        _text(svg, left - 8, y + 4, f"{tick:.0%}", "tick", "end")
    step = span / max(len(bars), 1)
    spots = [
        (left + step * (i + 0.5), bottom - (bottom - top) * bar.value) for i, bar in enumerate(bars)
    ]
    _path(svg, spots, "line s0")
    for (x, y), bar in zip(spots, bars):
        group = ET.SubElement(svg, "g")
        if bar.low is not None and bar.high is not None:
            ends = [bottom - (bottom - top) * end for end in (bar.low, bar.high)]
            _line(group, x, ends[0], x, ends[1], "whisker")
        ET.SubElement(
            group, "circle", {"cx": f"{x:.1f}", "cy": f"{y:.1f}", "r": "4", "class": "dot"}
        )
        _text(group, x, bottom + 18, bar.label, "tick", "middle")
        _tooltip(group, f"{bar.label}: {bar.value:.1%} {_interval(bar)} {bar.note}")
    _text(svg, left + span / 2, height - 8, x_title, "axis", "middle")
    return _markup(svg)


def line_chart(title: str, series: Sequence[Series], x_title: str, y_title: str) -> Markup:
    """Draw lines over a common x axis; the y axis fits the data."""
    left, right, top, height = 58, 16, 26, 300
    bottom = height - 48
    svg = _svg(title, _WIDTH, height)
    points = [p for line in series for p in line.points if math.isfinite(p[1])]
    if not points:
        _text(svg, _WIDTH / 2, height / 2, "no data", "axis", "middle")
        return _markup(svg)
    x_ticks, y_ticks = _ticks(*_range(points, 0)), _ticks(*_range(points, 1))
    x_of = _scale(*_range(points, 0), left, _WIDTH - right)
    y_of = _scale(min(y_ticks[0], _range(points, 1)[0]), _range(points, 1)[1], bottom, top)
    for tick in y_ticks:
        _line(svg, left, y_of(tick), _WIDTH - right, y_of(tick), "grid")
        _text(svg, left - 8, y_of(tick) + 4, _number(tick), "tick", "end")
    for tick in x_ticks:
        _text(svg, x_of(tick), bottom + 18, _number(tick), "tick", "middle")
    room = min(150, (_WIDTH - left - right) / len(series))
    for index, line in enumerate(series):
        kept = [(x_of(x), y_of(y)) for x, y in line.points if math.isfinite(y)]
        _path(svg, kept, f"line s{index % 4}")
        if len(kept) < 40:
            for x, y in kept:
                spot = {"cx": f"{x:.1f}", "cy": f"{y:.1f}", "r": "3", "class": f"dot s{index % 4}"}
                ET.SubElement(svg, "circle", spot)
        _text(svg, left + 8 + room * index, 14, f"— {line.name}", f"legend s{index % 4}", "start")
    _text(svg, (left + _WIDTH - right) / 2, height - 8, x_title, "axis", "middle")
    label = _text(svg, 0, 0, y_title, "axis", "middle")
    label.set("transform", f"translate(13 {(top + bottom) / 2:.0f}) rotate(-90)")
    return _markup(svg)


# Geometry


def _range(points: Sequence[tuple[float, float]], axis: int) -> tuple[float, float]:
    values = [point[axis] for point in points]
    low, high = min(values), max(values)
    if high - low > 1e-9 * max(abs(low), abs(high)):
        return low, high
    pad = max(abs(high) / 2, 0.5)
    return low - pad, high + pad


def _scale(low: float, high: float, start: float, end: float) -> _Scale:
    return _Scale(low, high, start, end)


@dataclass(frozen=True, slots=True)
class _Scale:
    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        return self.start + (self.end - self.start) * (value - self.low) / (self.high - self.low)


def _ticks(low: float, high: float, wanted: int = 5) -> list[float]:
    """Return round numbers that cover a range, within it."""
    rough = (high - low) / wanted
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= rough)
    first = math.ceil(low / step - 1e-9)
    return [round(i * step, 10) for i in range(first, math.floor(high / step + 1e-9) + 1)]


def _number(value: float) -> str:
    for size, suffix in ((1e9, " G"), (1e6, " M"), (1e4, " k")):
        if abs(value) >= size:
            return f"{value / (1e3 if suffix == ' k' else size):g}{suffix}"
    return f"{value:g}"


def _interval(bar: Bar) -> str:
    if bar.low is None or bar.high is None:
        return ""
    return f"({bar.low:.1%} to {bar.high:.1%})"


def _shorten(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


# Elements


def _svg(title: str, width: int, height: int) -> ET.Element:
    name = f"chart-{next(_ids)}"
    svg = ET.Element(
        "svg",
        {
            "viewBox": f"0 0 {width} {height}",
            "role": "img",
            "aria-labelledby": name,
            "class": "chart",
        },
    )
    ET.SubElement(svg, "title", {"id": name}).text = title
    return svg


def _line(parent: ET.Element, x1: float, y1: float, x2: float, y2: float, kind: str) -> None:
    ends = {"x1": f"{x1:.1f}", "y1": f"{y1:.1f}", "x2": f"{x2:.1f}", "y2": f"{y2:.1f}"}
    ET.SubElement(parent, "line", ends | {"class": kind})


def _path(parent: ET.Element, points: Sequence[tuple[float, float]], kind: str) -> None:
    if points:
        moves = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
        ET.SubElement(parent, "path", {"d": moves, "class": kind})


def _text(
    parent: ET.Element, x: float, y: float, content: str, kind: str, anchor: str
) -> ET.Element:
    place = {"x": f"{x:.1f}", "y": f"{y:.1f}", "text-anchor": anchor, "class": kind}
    element = ET.SubElement(parent, "text", place)
    element.text = content
    return element


def _tooltip(parent: ET.Element, content: str) -> None:
    title = ET.Element("title")
    title.text = content
    parent.insert(0, title)


def _markup(svg: ET.Element) -> Markup:
    return Markup(ET.tostring(svg, encoding="unicode"))
