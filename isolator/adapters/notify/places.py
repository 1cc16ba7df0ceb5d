"""Where the channels are on a machine, or in the lab."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_ROOT = "ISOLATOR_NOTIFY_ROOT"
_WALL = "ISOLATOR_NOTIFY_WALL"


@dataclass(frozen=True, slots=True)
class NotifyPlaces:
    """Where the channels are on this machine. `wall` None: write to the terminals in `utmp` instead."""

    motd: Path = Path("/run/motd.d/isolator")
    run_user: Path = Path("/run/user")
    utmp: Path | None = Path("/run/utmp")
    devices: Path = Path("/dev")
    wall: str | None = "wall"

    @staticmethod
    def from_environ(environ: Mapping[str, str]) -> NotifyPlaces:
        """Give the machine's own, or those under ISOLATOR_NOTIFY_ROOT.

        With a root no terminal is written to, unless ISOLATOR_NOTIFY_WALL names the program that does it.
        """
        root, wall = environ.get(_ROOT), environ.get(_WALL) or None
        if not root:
            return NotifyPlaces(wall=wall or "wall")
        run = Path(root) / "run"
        return NotifyPlaces(motd=run / "motd.d/isolator", run_user=run / "user", utmp=None, wall=wall)
