"""A session on the terminal: source, state, callers, and what the model says."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import ClassVar

from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.widgets import Footer, Header, Input, Static

from cwm_core.errors import CwmError
from cwm_tracer.debug.breakpoints import Breakpoint
from cwm_tracer.debug.opening import Opened
from cwm_tracer.debug.session import Session, Stop
from cwm_tracer.debug.story import DebugError
from cwm_tracer.debug.tui.panes import Calls, Event, Source, State


class DebuggerApp(App[None]):
    """Keys move the session; the panes show where it stands."""

    CSS = """
    #left { width: 3fr; } #right { width: 2fr; }
    Source { height: 1fr; border: round $panel; }
    State { height: 2fr; border: round $panel; }
    Calls { height: 1fr; border: round $panel; }
    Event { height: auto; max-height: 9; border: round $panel; padding: 0 1; }
    #message { height: 1; padding: 0 1; color: $text-muted; }
    #prompt { display: none; } #prompt.asked { display: block; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "step('step_over')", "over"),
        Binding("s", "step('step_in')", "in"),
        Binding("o", "step('step_out')", "out"),
        Binding("b", "step('step_back_over')", "back"),
        Binding("B", "step('step_back')", "back into"),
        Binding("c", "step('continue_')", "continue"),
        Binding("r", "step('reverse_continue')", "reverse"),
        Binding("d", "step('next_divergence')", "divergence"),
        Binding("t", "toggle_breakpoint", "breakpoint"),
        Binding("C", "ask('condition')", "condition", show=False),
        Binding("g", "run_to", "run to"),
        Binding("e", "ask('set')", "set"),
        Binding("x", "ask('evaluate')", "evaluate"),
        Binding("X", "exceptions", "exceptions", show=False),
        Binding("p", "pause", "pause", show=False),
        Binding("R", "restart", "restart", show=False),
        Binding("escape", "dismiss", "close", show=False),
        Binding("q", "quit", "quit"),
    ]

    def __init__(self, opened: Opened) -> None:
        super().__init__()
        self.opened = opened
        self.session = Session(opened.story, self._say)
        self.title = f"cwm debug: {opened.title}"
        self.sub_title = opened.story.mode
        self._asked = ""

    def compose(self) -> ComposeResult:
        """Lay out the panes."""
        yield Header(show_clock=False)
        with Horizontal():
            with Vertical(id="left"):
                yield Source(self.session)
                yield Event(id="event")
            with Vertical(id="right"):
                yield State()
                yield Calls()
        yield Static("", id="message", markup=False)
        yield Input(id="prompt")
        yield Footer()

    async def on_mount(self) -> None:
        """Show the first event."""
        self.query_one(Source).focus()
        await self._draw()

    async def _draw(self) -> None:
        session = self.session
        story = session.story
        made = await story.prediction(session.cursor)
        found = await session.differences()
        self.query_one(Source).show()
        self.query_one(Event).show(session, made, found)
        self.query_one(State).show(session, made, found)
        self.query_one(Calls).show(session)
        where = f"event {session.cursor + 1} of {len(story.timeline)}{'' if story.ended else '+'}"
        why = f"{session.last.why}{f': {session.last.text}' if session.last.text else ''}"
        self._say(f"{where}, line {session.line}: {why}")

    def _say(self, text: str) -> None:
        self.query_one("#message", Static).update(text)

    async def _moving(self, verb: Callable[[], Awaitable[Stop]]) -> None:
        try:
            await verb()
            await self._draw()
        except CwmError as error:
            self._say(f"{error.message}{f' ({error.hint})' if error.hint else ''}")

    def action_step(self, verb: str) -> None:
        """Start a verb that may ask the model; keys go on working."""
        self._say("...")
        self.run_worker(self._moving(getattr(self.session, verb)), exclusive=True, group="verb")

    async def action_restart(self) -> None:
        """Go to the first event."""
        self.session.restart()
        await self._draw()

    def action_pause(self) -> None:
        """Stop a verb that is under way."""
        self.session.pause()

    def action_run_to(self) -> None:
        """Go to the next time that the line of the cursor runs."""
        line = self.query_one(Source).cursor
        self.run_worker(
            self._moving(lambda: self.session.run_to(line)), exclusive=True, group="verb"
        )

    def action_toggle_breakpoint(self) -> None:
        """Set or clear a breakpoint at the line of the cursor."""
        source = self.query_one(Source)
        lines = self.session.stops.lines
        if source.cursor in lines:
            del lines[source.cursor]
        elif source.cursor in self.session.story.timeline.source.executable:
            lines[source.cursor] = Breakpoint(source.cursor)
        else:
            self._say(f"line {source.cursor} has no code")
        source.show(follow=False)

    def action_exceptions(self) -> None:
        """Switch stopping at exceptions on or off."""
        stops = self.session.stops
        stops.exceptions = not stops.exceptions
        self._say(f"stops at exceptions: {'on' if stops.exceptions else 'off'}")

    # The prompt

    _QUESTIONS: ClassVar[dict[str, str]] = {
        "set": "name = value",
        "evaluate": "expression over the locals",
        "condition": "condition of the breakpoint at the cursor",
    }

    def action_ask(self, what: str) -> None:
        """Open the prompt."""
        self._asked = what
        prompt = self.query_one("#prompt", Input)
        prompt.placeholder = self._QUESTIONS[what]
        prompt.value = ""
        prompt.add_class("asked")
        prompt.focus()

    def action_dismiss(self) -> None:
        """Close the prompt."""
        self.query_one("#prompt").remove_class("asked")
        self.query_one(Source).focus()

    async def on_input_submitted(self, event: Input.Submitted) -> None:
        """Do what the prompt was opened for."""
        self.action_dismiss()
        try:
            if self._asked == "set":
                await self._set(event.value)
            elif self._asked == "condition":
                self._condition(event.value)
            else:
                self._say(f"{event.value} = {self.session.evaluate(event.value)}")
        except CwmError as error:
            self._say(f"{error.message}{f' ({error.hint})' if error.hint else ''}")

    async def _set(self, text: str) -> None:
        name, equals, value = text.partition("=")
        if not equals:
            raise DebugError(f"{text!r} sets nothing", "write name = value")
        await self.session.set_variable(name.strip(), self.session.evaluate(value))
        await self._draw()
        self._say(f"{name.strip()} is set; what follows is predicted")

    def _condition(self, text: str) -> None:
        source = self.query_one(Source)
        self.session.stops.lines[source.cursor] = Breakpoint(source.cursor, condition=text.strip())
        source.show(follow=False)
