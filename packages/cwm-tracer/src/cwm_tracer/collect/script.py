"""Recording one script from the command line."""

from __future__ import annotations

import sys
from pathlib import Path

from cwm_core.config import compose
from cwm_core.data.records import TraceRecord
from cwm_core.errors import ConfigError, DataError
from cwm_tracer.capture.one import OneConfig
from cwm_tracer.capture.scripts import MODULE, script_input
from cwm_tracer.capture.tracer import Surroundings
from cwm_tracer.target import read_source


def run_script(words: list[str], stdin: Path | None = None) -> TraceRecord:
    """Run ``[key=value ...] FILE.py [ARGUMENT ...]`` as ``python FILE.py ARGUMENT ...`` would be.

    `stdin` is the file that the script reads as its standard input; ``-`` is this process's own.

    Raises:
        ConfigError: a key or value is wrong, or no script is named.
        DataError: a file cannot be read.
    """
    from cwm_tracer.api import record_source

    at = next((index for index, word in enumerate(words) if "=" not in word), None)
    if at is None:
        raise ConfigError("no script is named", "cwm trace script [key=value ...] FILE.py ...")
    path, argv = Path(words[at]), words[at + 1 :]
    config = compose("trace script", OneConfig, words[:at])
    source, text = read_source(path), script_input(argv, _read(stdin))
    around = Surroundings("__main__", str(path.resolve()), (str(path.resolve().parent),))
    with config.tracer.build(config.limits) as tracer:
        return record_source(tracer, source, MODULE, text, around)


def _read(stdin: Path | None) -> str:
    if stdin is None:
        return ""
    try:
        data = sys.stdin.buffer.read() if str(stdin) == "-" else stdin.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {stdin}: {error.strerror}", "check --stdin") from error
    return data.decode("utf-8", "surrogateescape")
