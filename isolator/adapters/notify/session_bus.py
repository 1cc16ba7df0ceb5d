"""Show one notification on each session bus: a program of its own, run by `notify` and imported by nobody.

A session bus admits its own user only, and it is that user's: it may lie, hang or flood. So one process per
bus gives up root for good before it connects, and the kernel ends it after two seconds. It is a fresh
program and no fork of the agent, whose threads and netlink sockets must not be copied.

Input: JSON on stdin, see `Job`. Output: one line per bus that failed. Exit: 0 when every bus took it.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Mapping
from typing import Any, TypedDict

if sys.platform != "win32":
    import resource
    import signal

LIMIT_S = 2
"""For one bus, everything included; whole seconds (alarm(2))."""
MAX_MEMORY = 512 * 1024 * 1024
"""Bytes of address space: a hostile bus may announce a message of 128 MiB (D-Bus specification)."""
NOBODY = 65_534
ICON = "network-offline"
_OBJECT = "/org/freedesktop/Notifications"
_NAME = "org.freedesktop.Notifications"


class Job(TypedDict):
    """What to show where. `english` and `japanese` are (title, body) with that language first."""

    english: tuple[str, str]
    japanese: tuple[str, str]
    japanese_first: bool
    """For a session whose locale cannot be found out."""
    urgency: int
    """0 low, 1 normal, 2 critical: stays until dismissed (Desktop Notifications specification)."""
    buses: list[tuple[str, int, int]]
    """Socket, user and group of each session."""


def main() -> int:
    """Tell every session at once; give the exit code."""
    failed = 0
    if sys.platform != "win32":
        job: Job = json.load(sys.stdin)
        # Loaded as root: the user may not be able to read where it lies.
        importlib.import_module("jeepney.io.blocking")

        children = {}
        for path, uid, gid in job["buses"]:
            child = os.fork()
            if child == 0:
                os._exit(_in_session(job, path, uid, gid))
            children[child] = path
        while children:
            child, status = os.wait()
            path = children.pop(child)
            if status:
                failed += 1
                how = "no answer in time" if os.WIFSIGNALED(status) else "not shown"
                print(f"{path}: {how}", flush=True)
    return 1 if failed else 0


def _in_session(job: Job, path: str, uid: int, gid: int) -> int:
    """Become the user, tell, and give the exit code; the alarm ends us if it takes too long."""
    try:
        if sys.platform != "win32":
            signal.alarm(LIMIT_S)
            resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))
            if (os.getuid(), os.geteuid()) != (uid, uid):
                os.setgroups([])
                # Only root's own session has business in group 0.
                group = gid or NOBODY
                os.setresgid(group, group, group)
                os.setresuid(uid, uid, uid)
        _show(job, path)
    except BaseException as error:  # noqa: BLE001 - a bus may answer anything, and nothing may go on from here
        print(f"{path}: {type(error).__name__}: {error}"[:500], flush=True)
        return 1
    return 0


def _show(job: Job, path: str) -> None:
    from jeepney import DBusAddress, MessageType, new_method_call
    from jeepney.io.blocking import DBusConnection, prep_socket

    with DBusConnection(prep_socket(path, enable_fds=False, timeout=LIMIT_S)) as connection:
        title, body = job["japanese" if _is_japanese(connection, job) else "english"]
        hints = {"urgency": ("y", job["urgency"]), "category": ("s", "network")}
        # -1: the server decides for how long; a critical one stays.
        arguments: tuple[object, ...] = ("Isolator", 0, ICON, title, body, [], hints, -1)
        address = DBusAddress(_OBJECT, bus_name=_NAME, interface=_NAME)
        reply = connection.send_and_get_reply(
            new_method_call(address, "Notify", "susssasa{sv}i", arguments), timeout=LIMIT_S
        )
        if reply.header.message_type is not MessageType.method_return:
            raise RuntimeError(str(reply.body[0]) if reply.body else "refused")


def _is_japanese(connection: Any, job: Job) -> bool:
    """Find the session's locale: that of the process which shows the notification, read with user rights."""
    from jeepney import DBusAddress, MessageType, new_method_call

    bus = DBusAddress("/org/freedesktop/DBus", "org.freedesktop.DBus", "org.freedesktop.DBus")
    call = new_method_call(bus, "GetConnectionUnixProcessID", "s", (_NAME,))
    reply = connection.send_and_get_reply(call, timeout=LIMIT_S)
    if reply.header.message_type is not MessageType.method_return:
        return job["japanese_first"]  # started on demand, or not there at all
    try:
        with open(f"/proc/{int(reply.body[0])}/environ", "rb") as file:
            return _prefers_japanese(file.read(256 * 1024), job["japanese_first"])
    except (OSError, ValueError):
        return job["japanese_first"]


def _prefers_japanese(environ: bytes, otherwise: bool) -> bool:
    pairs = (each.partition(b"=") for each in environ.split(b"\0"))
    found: Mapping[bytes, bytes] = {name: value for name, _, value in pairs}
    for name in (b"LC_ALL", b"LC_MESSAGES", b"LANG"):
        if found.get(name):
            return found[name][:2].lower() == b"ja"
    return otherwise


if __name__ == "__main__":
    sys.exit(main())
