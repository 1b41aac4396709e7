"""Builds the native recorder where there is a C compiler; the package is complete without it."""

from __future__ import annotations

import atexit
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

MODULE = "cwm_tracer.capture._native"
PLACE = "src/cwm_tracer/capture"


class NativeRecorder(BuildHookInterface):
    """Compiles the extension into the wheel, or next to its sources for an editable install."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the compiled module to a wheel; without one the wheel stays pure."""
        if self.target_name != "wheel" or sys.implementation.name != "cpython":
            return
        built = self._compiled()
        if built is None:
            return
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
        if version == "editable":
            target = Path(self.root, PLACE, built.name)
            # A process that has loaded the old file keeps it.
            target.unlink(missing_ok=True)
            target.write_bytes(built.read_bytes())
            target.chmod(0o755)
        else:
            build_data["force_include"][str(built)] = f"cwm_tracer/capture/{built.name}"

    def _compiled(self) -> Path | None:
        from setuptools import Distribution, Extension
        from setuptools.errors import BaseError, CCompilerError

        sources = sorted(Path(self.root, PLACE, "native").glob("*.c"))
        scratch = Path(tempfile.mkdtemp(prefix="cwm-tracer-"))
        atexit.register(shutil.rmtree, scratch, ignore_errors=True)
        options = [] if sys.platform == "win32" else ["-O3"]
        extension = Extension(MODULE, list(map(str, sources)), extra_compile_args=options)
        command = Distribution({"ext_modules": [extension]}).get_command_obj("build_ext")
        command.build_lib, command.build_temp = str(scratch / "lib"), str(scratch)
        try:
            command.ensure_finalized()
            command.run()
        except (BaseError, CCompilerError, OSError) as error:
            reason = f"{type(error).__name__}: {error}"
            self.app.display_warning(f"cwm-tracer without its native recorder: {reason}")
            return None
        return Path(command.get_ext_fullpath(MODULE))
