"""Who has a desktop session, and what is shown there."""

from __future__ import annotations

import html
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from isolator.adapters.notify.session_bus import Job
from isolator.model.event import EventKind, HostEvent
from isolator.render.notice import Notice

SESSION_BUS = Path(__file__).with_name("session_bus.py")
"""The program that takes the job on its stdin."""
MAX_SESSIONS = 64

_CALM = frozenset((EventKind.RELEASED, EventKind.EXPIRED))
"""Good news goes away by itself; the rest stays on the screen until it is read."""


def desktop_job(event: HostEvent, notice: Notice, run_user: Path, *, japanese_first: bool) -> Job:
    """Give what to show on each session bus; `buses` is empty when nobody has a session."""
    return Job(
        english=_on_desktop(notice, japanese_first=False),
        japanese=_on_desktop(notice, japanese_first=True),
        japanese_first=japanese_first,
        urgency=1 if event.kind in _CALM else 2,
        buses=list(_session_buses(run_user)),
    )


def _on_desktop(notice: Notice, *, japanese_first: bool) -> tuple[str, str]:
    """Title and body; the body is read as markup (Desktop Notifications specification, "Markup")."""
    body = notice.body(japanese_first=japanese_first)
    return notice.title(japanese_first=japanese_first), html.escape(body, quote=False)


def _session_buses(run_user: Path) -> Iterator[tuple[str, int, int]]:
    """Give (socket, user, group) of each logged-in session whose bus belongs to the user it is named for."""
    try:
        names = sorted(name for name in os.listdir(run_user) if name.isascii() and name.isdigit())
    except OSError:
        return
    for name in names[:MAX_SESSIONS]:
        path = run_user / name / "bus"
        try:
            status = os.lstat(path)
        except OSError:
            continue
        if stat.S_ISSOCK(status.st_mode) and status.st_uid == int(name):
            yield str(path), status.st_uid, status.st_gid
