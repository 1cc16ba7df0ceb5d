"""A desktop for tests: owns org.freedesktop.Notifications on a bus and writes what it is shown to a file.

Run as `notification_service.py BUS_SOCKET FILE UID [refuse|silent]`; ends when its bus does.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from pathlib import Path

from jeepney import DBusAddress, HeaderFields, MessageType, new_error, new_method_call, new_method_return
from jeepney.io.blocking import open_dbus_connection

NAME = "org.freedesktop.Notifications"
BUS = DBusAddress("/org/freedesktop/DBus", "org.freedesktop.DBus", "org.freedesktop.DBus")


PR_SET_DUMPABLE = 4


def become(uid: int) -> None:
    """Become the session's user; readable by it in /proc again, as a program it had started would be."""
    if uid != os.getuid():
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
        ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)


def main(bus: str, file: Path, uid: str, manner: str = "") -> None:
    become(int(uid))
    connection = open_dbus_connection(f"unix:path={bus}")
    connection.send_and_get_reply(new_method_call(BUS, "RequestName", "su", (NAME, 4)))
    print("ready", flush=True)
    while True:
        message = connection.receive()
        if message.header.message_type is not MessageType.method_call or manner == "silent":
            continue
        if manner == "refuse":
            connection.send(new_error(message, f"{NAME}.Error.Full", "s", ("too many",)))
            continue
        shown = {"member": message.header.fields[HeaderFields.member], "arguments": message.body}
        with file.open("a", encoding="utf-8") as out:
            out.write(json.dumps(shown) + "\n")
        connection.send(new_method_return(message, "u", (1,)))


if __name__ == "__main__":
    try:
        main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:5])
    except (ConnectionError, OSError):
        sys.exit(0)
