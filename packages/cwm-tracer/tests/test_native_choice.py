"""Which recorder is used, and how one learns of it."""

import subprocess
import sysconfig
from pathlib import Path

import pytest

from cwm_core.errors import ConfigError
from cwm_tracer.capture import native_choice, recorder
from cwm_tracer.capture.config import SettraceConfig
from cwm_tracer.capture.probe import native_recorder

PACKAGE = Path(__file__).resolve().parents[1]


def test_without_the_extension_the_twin_is_used(monkeypatch):
    monkeypatch.setattr(native_choice, "missing", "No module named '_native'")
    assert not native_choice.wanted("auto")
    assert native_choice.recorder_class(False) is recorder.Recorder
    with pytest.raises(ConfigError, match=r"No module named '_native'\n  hint: install cwm-tracer"):
        SettraceConfig(native="on").build()
    with SettraceConfig().build() as tracer:
        assert tracer
    finding = native_recorder()
    assert not finding.found and "twin in Python" in finding.detail and "pip" in finding.get_it


@pytest.mark.skipif(native_choice.missing is not None, reason="the extension was not compiled")
def test_with_the_extension_it_is_used_unless_told_otherwise(monkeypatch):
    monkeypatch.delenv(native_choice.VARIABLE, raising=False)
    assert native_choice.wanted("auto") and native_choice.wanted("on")
    assert not native_choice.wanted("off")
    assert native_recorder().detail.endswith("in use")
    monkeypatch.setenv(native_choice.VARIABLE, "python")
    assert not native_choice.wanted("auto")
    assert native_choice.wanted("on")
    assert native_recorder().detail.endswith("off: CWM_TRACER=python")


@pytest.mark.skipif(native_choice.missing is not None, reason="the extension was not compiled")
def test_the_sources_compile_without_warnings(tmp_path):
    compiler = sysconfig.get_config_var("CC").split()
    sources = sorted((PACKAGE / "src/cwm_tracer/capture/native").glob("*.c"))
    assert sources
    flags = ["-Wall", "-Wextra", "-Wno-missing-field-initializers", "-Wno-unused-parameter"]
    include = f"-I{sysconfig.get_path('include')}"
    command = [*compiler, *flags, "-Werror", "-fsyntax-only", include, *map(str, sources)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
