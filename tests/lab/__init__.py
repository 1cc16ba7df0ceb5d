"""A network of namespaces to isolate a device in: see README.md."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.lab.failure import LabError
    from tests.lab.lab import Lab
    from tests.lab.namespace import Namespace
    from tests.lab.reach import Reach, Result
    from tests.lab.session import Session
    from tests.lab.sniffing import Direction
    from tests.lab.zone import Host

_HOMES = {
    "Direction": "sniffing",
    "Host": "zone",
    "Lab": "lab",
    "LabError": "failure",
    "Namespace": "namespace",
    "Reach": "reach",
    "Result": "reach",
    "Session": "session",
}

__all__ = ["Direction", "Host", "Lab", "LabError", "Namespace", "Reach", "Result", "Session"]


def __getattr__(name: str) -> object:
    """Import on demand: the helper processes import this package too and must come up fast."""
    import importlib

    if name not in _HOMES:
        raise AttributeError(name)
    return getattr(importlib.import_module(f"tests.lab.{_HOMES[name]}"), name)
