"""Builds the decoding step in C where there is a compiler; the package is complete without it."""

from __future__ import annotations

import atexit
import platform
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

MODULE = "cwm_train.generate._native"
PLACE = "src/cwm_train/generate"


class NativeDecoder(BuildHookInterface):
    """Compiles the library into the wheel, or next to its sources for an editable install."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the compiled library to a wheel; without one the wheel stays pure."""
        if self.target_name != "wheel":
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
            build_data["force_include"][str(built)] = f"cwm_train/generate/{built.name}"

    def _compiled(self) -> Path | None:
        from setuptools import Distribution, Extension
        from setuptools.errors import BaseError, CCompilerError

        sources = sorted(Path(self.root, PLACE, "native").glob("*.c"))
        scratch = Path(tempfile.mkdtemp(prefix="cwm-train-"))
        atexit.register(shutil.rmtree, scratch, ignore_errors=True)
        compiling, linking = _options()
        extension = Extension(
            MODULE, list(map(str, sources)), extra_compile_args=compiling, extra_link_args=linking
        )
        command = Distribution({"ext_modules": [extension]}).get_command_obj("build_ext")
        command.build_lib, command.build_temp = str(scratch / "lib"), str(scratch)
        try:
            command.ensure_finalized()
            command.run()
        except (BaseError, CCompilerError, OSError) as error:
            reason = f"{type(error).__name__}: {error}"
            self.app.display_warning(f"cwm-train without its decoding step in C: {reason}")
            return None
        return Path(command.get_ext_fullpath(MODULE))


def _options() -> tuple[list[str], list[str]]:
    """Return what the compiler and the linker are told; there is no build without AVX2 on x86."""
    compiling, linking = ["-O3"], []
    if platform.machine().lower() in ("x86_64", "amd64"):
        compiling += ["-mavx2", "-mfma"]
    if sys.platform == "linux":
        compiling.append("-fopenmp")
        linking += ["-fopenmp", "-lm"]
    return compiling, linking
