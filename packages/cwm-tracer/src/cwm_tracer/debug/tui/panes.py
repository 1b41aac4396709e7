"""The panes of the terminal debugger."""

from __future__ import annotations

from typing import ClassVar

from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text
from textual.binding import Binding, BindingType
from textual.widgets import DataTable, Static

from cwm_core.trace import frames as wire
from cwm_tracer.debug.compare import Difference
from cwm_tracer.debug.predict import Prediction
from cwm_tracer.debug.session import Session

_COLORS = {
    wire.Event.CALL: "cyan",
    wire.Event.LINE: "",
    wire.Event.RETURN: "green",
    wire.Event.EXCEPTION: "red",
}
_MOST_SHOWN = 200
"""Characters of a value: a longer one would push the columns beside it far out of sight."""
_MOST_CALLS = 100


class Source(Static, can_focus=True):
    """The program; ``▶`` is where the session stands, ``●`` a breakpoint, ``▷`` a caller."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "move(-1)", "line up", show=False),
        Binding("down", "move(1)", "line down", show=False),
        Binding("pageup", "move(-10)", "page up", show=False),
        Binding("pagedown", "move(10)", "page down", show=False),
    ]

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        source = session.story.timeline.source
        self._count = len(source.lines)
        code = Syntax("", "python", theme="ansi_dark").highlight(source.text)
        self._code = code.split("\n", allow_blank=True)
        self.cursor = 1
        """The line that breakpoints are set at, from 1."""

    def action_move(self, by: int) -> None:
        """Move the cursor."""
        self.cursor = max(1, min(self._count, self.cursor + by))
        self.show(follow=False)

    def show(self, follow: bool = True) -> None:
        """Draw the lines around the cursor, which follows the session."""
        if follow and self._session.line:
            self.cursor = self._session.line
        height = max(3, self.content_size.height or 20)
        first = max(1, min(self.cursor - height // 2, self._count - height + 1))
        table = Table.grid(padding=(0, 1))
        callers = {entry.line for entry in self._session.stack()[1:]}
        for number in range(first, min(self._count, first + height - 1) + 1):
            style = "reverse" if number == self.cursor else ""
            table.add_row(
                self._mark(number, callers),
                Text(f"{number:>4}", style="dim"),
                Text.assemble(self._code[number - 1], style=style),
            )
        self.update(table)

    def _mark(self, number: int, callers: set[int]) -> Text:
        mark = Text()
        mark.append("●" if number in self._session.stops.lines else " ", style="red")
        if number == self._session.line:
            mark.append("▶", style="bold yellow")
        else:
            mark.append("▷" if number in callers else " ", style="yellow")
        return mark

    def on_resize(self) -> None:
        """Draw again: there is room for another number of lines."""
        self.show(follow=False)


class Event(Static):
    """What happens here, and where the model thinks otherwise."""

    def show(self, session: Session, made: Prediction | None, found: list[Difference]) -> None:
        """Describe the event."""
        frame = session.frame
        text = Text()
        text.append(f"{frame.event} ", style=f"bold {_COLORS[frame.event]}")
        text.append(frame.source.strip())
        if frame.value is not None:
            text.append(f"  → {_short(frame.value)}", style=_COLORS[frame.event])
        if made is not None and not session.story.predicting:
            agrees = not found
            text.append("\nthe model agrees" if agrees else "\nthe model differs: ")
            text.append("; ".join(map(str, found)), style="bold red")
        if made is not None:
            text.append(f"\n{_sureness(made)}", style="dim")
        self.update(text)


class State(DataTable[Text]):
    """The locals: as executed, and as predicted with the model's probability."""

    def on_mount(self) -> None:
        """Make the columns."""
        self.cursor_type = "none"
        self.add_columns("local", "value", "predicted", "p")

    def show(self, session: Session, made: Prediction | None, found: list[Difference]) -> None:
        """Fill the rows."""
        self.clear()
        wrong = {each.part for each in found}
        changed = session.story.timeline.changed(session.cursor)
        edited = session.story.edited(session.cursor)
        told = made.frame.locals or {} if made is not None and made.frame is not None else {}
        values = made.confidence.values if made is not None else {}
        state = session.state()
        for name in dict.fromkeys([*state, *told]):
            style = "green" if name in changed else ""
            predicted = Text(
                _short(told.get(name, "")), style="bold red" if name in wrong else "dim"
            )
            mark = "✎ " if name in edited else "≠ " if name in wrong else ""
            sure = f"{values[name]:.2f}" if name in values else ""
            value = Text(_short(state.get(name, "")), style=style)
            self.add_row(Text(f"{mark}{name}"), value, predicted, Text(sure))


class Calls(Static):
    """The functions under way, the innermost first."""

    def show(self, session: Session) -> None:
        """List them."""
        text = Text()
        for entry in session.story.timeline.stack(session.cursor, most=_MOST_CALLS):
            text.append(f"{entry.function}", style="bold")
            text.append(f"  line {entry.line}\n", style="dim")
        more = session.story.timeline.height(session.cursor) - _MOST_CALLS
        if more > 0:
            text.append(f"and {more} more", style="dim")
        self.update(text)


def _short(text: str) -> str:
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}…"


def _sureness(made: Prediction) -> str:
    sure = made.confidence
    parts = {"event": sure.event, "line": sure.source, "value": sure.value}
    known = [f"{name} {value:.2f}" for name, value in parts.items() if value is not None]
    return f"probabilities: {', '.join(known)}" if known else ""
