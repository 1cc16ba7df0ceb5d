"""What the settings are read from: this machine, or stand-ins for its parts."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from connectivity_check.settings.pac_source import fetch_pac
from connectivity_check.settings.registry import Registry, read_live
from connectivity_check.settings.windows_registry import WANTED
from connectivity_check.settings.wpad import Fetch


@dataclass(frozen=True, slots=True)
class Machine:
    """The outside of the settings."""

    environ: Mapping[str, str]
    root: Path
    """Where the files of a Unix are."""
    hostname: str
    fetch: Fetch
    registry: Callable[[], Registry] | None = None
    """On Windows: reads it. None elsewhere."""

    @classmethod
    def here(cls) -> Machine:
        """This machine."""
        windows = sys.platform == "win32"
        return cls(
            environ=dict(os.environ),
            root=Path("/"),
            hostname=socket.gethostname(),
            fetch=fetch_pac,
            registry=(lambda: read_live(WANTED)) if windows else None,
        )
