"""Kinds of input that hospitals and researchers have, small and made anew, each with what must become of it.

A kind writes its files into an empty folder and gives the outcome as text: what was read, or the sentence and exit code
of a refusal, and after `| warned:` the warnings. `wanted` is a regular expression of the whole outcome.
"""

from . import gray_values, phases, sequences, masks  # isort: skip  # noqa: F401, in the order of the table
from . import tables, preparation, gate, exits, comparisons  # isort: skip  # noqa: F401
from .registry import KINDS, fits, told

__all__ = ["KINDS", "fits", "told"]
