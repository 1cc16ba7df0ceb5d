"""What a checker says about one endpoint, in words that can be compared."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Said:
    """`passes`: it reports the endpoint as usable. `layer`: what its own words imply ("" when nothing)."""

    passes: bool
    layer: str = ""
    words: str = ""
