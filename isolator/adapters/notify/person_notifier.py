"""The `Notifier`: every event to every channel it is for, each on a thread of its own."""

from __future__ import annotations

import json
import logging
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import tzinfo
from pathlib import Path

from isolator.adapters.notify.bounded_run import PATH, run_bounded
from isolator.adapters.notify.desktop import SESSION_BUS, desktop_job
from isolator.adapters.notify.lane import Lane
from isolator.adapters.notify.places import NotifyPlaces
from isolator.adapters.notify.terminals import write_terminals
from isolator.model.config import NotifySettings
from isolator.model.event import EventKind, HostEvent
from isolator.render.notice import prefers_japanese, render_event, render_notice

RUN_LIMIT_S = 10.0
"""For a program we start; then its whole process group is killed."""

_LOG = logging.getLogger("isolator.notify")
_ON_SCREEN = frozenset(EventKind) - {EventKind.POLICY_UPDATED}
"""What a person sees; an updated policy is for the hook only."""
_ON_MOTD = frozenset((EventKind.ISOLATED, EventKind.RELEASED, EventKind.EXPIRED))
"""What changes the state a later login should read; a failure leaves the notice that is there."""


class PersonNotifier:
    """Every channel there is. Nothing here raises to the caller or waits, except `drain`."""

    def __init__(
        self,
        settings: NotifySettings,
        places: NotifyPlaces | None = None,
        *,
        environ: Mapping[str, str] | None = None,
        zone: tzinfo | None = None,
        run_limit_s: float = RUN_LIMIT_S,
    ) -> None:
        """Take the hook and the contact, used for an event that carries none.

        None for the rest means this process's: its environment names places and locale, its host the zone.
        """
        environ = os.environ if environ is None else environ
        self._settings = settings
        self._places = NotifyPlaces.from_environ(environ) if places is None else places
        self._japanese_first = prefers_japanese(environ)
        self._zone = zone
        self._run_limit_s = run_limit_s
        self._lanes = {
            "desktop": Lane("desktop", self._tell_desktop),
            "terminals": Lane("terminals", self._tell_terminals),
            "motd": Lane("motd", self._tell_motd),
            "command": Lane("command", self._tell_command),
        }

    def tell(self, event: HostEvent) -> None:
        """Queue the message on every channel it is for; returns at once, whatever the channels do."""
        event = replace(event, contact=event.contact or self._settings.contact)
        if event.kind in _ON_SCREEN:
            self._lanes["desktop"].put(event)
            self._lanes["terminals"].put(event)
        if event.kind in _ON_MOTD:
            self._lanes["motd"].put(event)
        if self._settings.command:
            self._lanes["command"].put(event)

    def clear(self) -> None:
        """Remove the message of the day, after whatever is queued for it; no error when there is none."""
        self._lanes["motd"].put(None)

    def drain(self, timeout_s: float) -> bool:
        """Wait until everything is told; False when something was still under way after `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        return all(lane.wait(deadline - time.monotonic()) for lane in self._lanes.values())

    def _tell_desktop(self, event: HostEvent | None) -> None:
        if event is None:
            return
        notice = render_notice(event, self._zone)
        job = desktop_job(event, notice, self._places.run_user, japanese_first=self._japanese_first)
        if job["buses"]:
            # Not this process: it is root with threads, and a session bus is its user's (see the program).
            data = json.dumps(job, ensure_ascii=False).encode()
            self._run("desktop", (sys.executable, "-I", str(SESSION_BUS)), data)

    def _tell_terminals(self, event: HostEvent | None) -> None:
        if event is None:
            return
        text = render_notice(event, self._zone).text(japanese_first=self._japanese_first)
        wall = self._places.wall and shutil.which(self._places.wall, path=PATH)
        if wall:
            # wall leaves a child behind for each terminal that does not take the text; do not let it stay.
            self._run("terminals", (wall,), text.encode(), leave_children=False)
        elif self._places.utmp is not None:
            write_terminals(self._places.utmp, self._places.devices, text)
        elif self._places.wall:
            _LOG.warning("notify terminals failed: there is no program %s", self._places.wall)

    def _tell_motd(self, event: HostEvent | None) -> None:
        if event is None:
            self._places.motd.unlink(missing_ok=True)
        else:
            text = render_notice(event, self._zone).text(japanese_first=self._japanese_first)
            _replace(self._places.motd, f"\n{text}\n")

    def _tell_command(self, event: HostEvent | None) -> None:
        if event is not None:
            self._run("command", self._settings.command, render_event(event, self._zone).encode())

    def _run(self, what: str, argv: Sequence[str], data: bytes, *, leave_children: bool = True) -> None:
        ended, output = run_bounded(argv, data, self._run_limit_s, leave_children=leave_children)
        said = f": {output}" if output else ""
        if ended == "exit 0":
            _LOG.info("notify %s done%s", what, said)
        else:
            _LOG.warning("notify %s failed (%s)%s", what, ended, said)


def _replace(path: Path, text: str) -> None:
    """Put a whole file in place at once, readable by everybody.

    The unfinished one lies a directory higher: pam_motd shows every file in its own.
    """
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    handle, unfinished = tempfile.mkstemp(prefix=".isolator-motd-", dir=path.parent.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            os.chmod(unfinished, 0o644)
        os.replace(unfinished, path)
    except BaseException:
        os.unlink(unfinished)
        raise
