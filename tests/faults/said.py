"""What a checker says about one endpoint, in words that can be compared."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Said:
    """`passes`: it reports the endpoint as usable. `layer`: what its own words imply ("" when nothing).

    `tried` False: the tool has no means for this way (nmap and a proxy) and says nothing.
    """

    passes: bool
    layer: str = ""
    words: str = ""
    tried: bool = True
