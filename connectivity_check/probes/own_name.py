"""How this program names itself to the servers and proxies it asks."""

from __future__ import annotations

from functools import cache


@cache
def user_agent() -> str:
    """Give the value of User-Agent (RFC 9110 section 10.1.5): product and version, 0 when not installed.

    The first call loads the package's metadata; let it be before anything is measured.
    """
    from importlib.metadata import PackageNotFoundError, version  # takes as long as all of a probe to import

    try:
        return f"host-isolator-check/{version('host-isolator')}"
    except PackageNotFoundError:
        return "host-isolator-check/0"
