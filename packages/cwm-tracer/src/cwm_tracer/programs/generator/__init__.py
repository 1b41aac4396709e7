"""A grammar-based generator of small, terminating Python programs."""

from cwm_tracer.programs.generator.compose import generate
from cwm_tracer.programs.generator.knobs import KNOBS, Knobs

__all__ = ["KNOBS", "Knobs", "generate"]
