"""benchsuite: what a quantizer or a commit did to a GPT-2-family model, and whether the difference is real."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchsuite.records import load_records

__all__ = ["load_records"]
__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    if name == "load_records":  # imported on use: it needs pandas
        from benchsuite.records import load_records

        return load_records
    raise AttributeError(f"module 'benchsuite' has no attribute {name!r}")
