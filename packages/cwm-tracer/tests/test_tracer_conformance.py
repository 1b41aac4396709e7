"""The default tracer keeps what every tracer promises, forked or not."""

from typing import Any

from cwm_core.plugins import registry
from cwm_core.testing.tracers import TracerConformance
from cwm_tracer.capture.limits import Limits


class TestSettrace(TracerConformance):
    def make(self, **limits: Any) -> Any:
        return registry().make("tracers", "settrace").build(Limits(**limits))


class TestWithoutFork(TracerConformance):
    def make(self, **limits: Any) -> Any:
        return registry().make("tracers", "settrace", fork=False).build(Limits(**limits))
