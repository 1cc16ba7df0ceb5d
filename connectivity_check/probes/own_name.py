"""How this program names itself to the servers and proxies it asks."""

from __future__ import annotations

import os
import re
import sys
from functools import cache

_METADATA = re.compile(r"host_isolator-([A-Za-z0-9.+!]+)\.dist-info")
"""The directory beside an installed package is named after its version (PEP 427)."""


@cache
def user_agent() -> str:
    """Give the value of User-Agent (RFC 9110 section 10.1.5): product and version, 0 when not installed.

    The first call looks for the package's metadata; let it be before anything is measured.
    """
    return f"host-isolator-check/{_by_directory() or _by_metadata() or '0'}"


def _by_directory() -> str:
    for place in sys.path:
        try:
            found = [match for match in map(_METADATA.fullmatch, os.listdir(place or ".")) if match]
        except OSError:  # no directory
            continue
        if found:
            return found[0].group(1)
    return ""


def _by_metadata() -> str:
    """As `importlib` finds it, inside archives too; importing that takes as long as ten rows."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("host-isolator")
    except PackageNotFoundError:
        return ""
