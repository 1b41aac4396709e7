from cwm_tracer.capture.endings import Finish
from cwm_tracer.capture.statements import Entry, Statements
from cwm_tracer.capture.stream import Region
from cwm_tracer.capture.values import Renderer

class Recorder:
    """The recorder in C; a drop-in for `recorder.Recorder`."""

    renderer: Renderer
    started: bool
    def __init__(
        self,
        region: Region,
        renderer: Renderer,
        statements: Statements,
        *,
        filename: str,
        entry: Entry | None,
        steps: int,
        depth: int,
        finish: Finish,
    ) -> None: ...
    @property
    def trace(self) -> Recorder: ...
    def start(self) -> None: ...
    def share(self) -> None: ...
    def start_thread(self) -> None: ...
    def end_thread(self) -> None: ...
