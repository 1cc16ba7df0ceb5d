"""Telling the person, on real channels under a root of the test's own: D-Bus, terminals, motd, hook."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from isolator.adapters.notify import NotifyPlaces, PersonNotifier
from isolator.adapters.notify.bounded_run import OUTPUT_LIMIT, run_bounded
from isolator.adapters.notify.lane import QUEUE_LIMIT, Lane
from isolator.model.config import NotifySettings
from isolator.model.event import EventKind, HostEvent

AT = "2025-03-01T20:30:00Z"
ISOLATED = HostEvent(EventKind.ISOLATED, AT, "phishing mail", "full", "SOC 110")
RELEASED = HostEvent(EventKind.RELEASED, AT, "cleaned", contact="SOC 110")
HOSTILE = "\x1b[2J\x1b]0;owned\x07\nRELEASED\r\u202egpj.exe <b>&amp;</b> " + "A" * 10_000
ENOUGH_S = 30.0
SESSION_USER = 65_534 if os.geteuid() == 0 else os.geteuid()
SERVICE = Path(__file__).with_name("notification_service.py")

needs_dbus = pytest.mark.skipif(shutil.which("dbus-daemon") is None, reason="no_dbus_daemon")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="no_permission: only root can be another user")

BUS_CONFIG = """\
<busconfig><type>session</type><listen>unix:path={bus}</listen><auth>EXTERNAL</auth>
<policy context="default">
<allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/>
</policy></busconfig>
"""


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + ENOUGH_S
    while not holds():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.01)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@dataclass
class Machine:
    """A root directory that stands for the machine, and the processes in it."""

    root: Path
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def motd(self) -> Path:
        return self.root / "run/motd.d/isolator"

    @property
    def shown(self) -> list[dict[str, list[object]]]:
        """What the desktop service was told, in order."""
        file = self.root / "out/shown"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def script(self, name: str, body: str) -> str:
        path = self.root / name
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)
        return str(path)

    def notifier(self, *command: str, wall: str = "", **more: float) -> PersonNotifier:
        environ = {"ISOLATOR_NOTIFY_ROOT": str(self.root), "ISOLATOR_NOTIFY_WALL": wall}
        return PersonNotifier(NotifySettings(command), environ=environ, **more)

    def session(self, uid: int = SESSION_USER) -> Path:
        """A runtime directory as a login makes it; gives where the bus goes."""
        directory = self.root / "run/user" / str(uid)
        directory.mkdir(parents=True)
        os.chown(directory, uid, -1)
        directory.chmod(0o700)
        return directory / "bus"

    def desktop(self, *manner: str, locale: str = "C.UTF-8", service: bool = True) -> None:
        """A private bus of the session user and a notification service on it."""
        bus, out = self.session(), self.root / "out"
        config = self.root / "bus.conf"
        config.write_text(BUS_CONFIG.format(bus=bus))
        out.mkdir()
        os.chown(out, SESSION_USER, -1)
        user = {"user": SESSION_USER, "extra_groups": []} if os.geteuid() == 0 else {}
        self.start(["dbus-daemon", "--config-file", str(config), "--nofork", "--print-address=1"], **user)
        if service:
            argv = [sys.executable, str(SERVICE), str(bus), str(out / "shown"), str(SESSION_USER), *manner]
            self.start(argv, env={"LANG": locale, "PATH": os.environ["PATH"]})

    def start(self, argv: list[str], **how: object) -> None:
        """Start a server and wait for its first line."""
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, **how)  # type: ignore[call-overload]
        self.processes.append(process)
        ready, _, _ = select.select([process.stdout], [], [], ENOUGH_S)
        assert ready, "the server did not start"
        assert process.stdout.readline(), "the server ended"

    def close(self) -> None:
        for process in reversed(self.processes):
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()
        shutil.rmtree(self.root)


@pytest.fixture
def machine() -> Iterator[Machine]:
    # Not tmp_path: another user must get in, and a socket's path has at most 107 characters (unix(7)).
    made = Machine(Path(tempfile.mkdtemp(prefix="notify-")))
    made.root.chmod(0o755)
    yield made
    made.close()


@pytest.fixture(autouse=True)
def _log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="isolator.notify")


def warnings(caplog: pytest.LogCaptureFixture) -> str:
    return "\n".join(each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING)


# Desktop


@needs_dbus
def test_a_session_is_told_at_isolation_and_at_release(
    machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    machine.desktop()
    notifier = machine.notifier()
    notifier.tell(ISOLATED)
    notifier.tell(RELEASED)
    assert notifier.drain(ENOUGH_S)
    assert warnings(caplog) == ""
    isolated, released = (each["arguments"] for each in machine.shown)
    assert str(isolated[3]).startswith("This device has been isolated")
    assert "phishing mail" in str(isolated[4])
    assert "連絡先: SOC 110" in str(isolated[4])
    assert isolated[6]["urgency"] == ["y", 2]  # type: ignore[index]
    assert str(released[3]).startswith("This device is no longer isolated")
    assert released[6]["urgency"] == ["y", 1]  # type: ignore[index]


@needs_dbus
def test_the_locale_of_the_session_decides_which_language_is_first(machine: Machine) -> None:
    machine.desktop(locale="ja_JP.UTF-8")
    notifier = machine.notifier()
    notifier.tell(ISOLATED)
    assert notifier.drain(ENOUGH_S)
    title, body = machine.shown[0]["arguments"][3:5]
    assert str(title).startswith("この端末は")
    assert str(body).startswith("理由: phishing mail\n")
    assert "\n\nReason: phishing mail\n" in str(body)
    # The agent's own locale still rules where there is no session.
    assert machine.motd.read_text().startswith("\nThis device")


@needs_dbus
def test_a_comment_is_no_markup_and_no_escape_on_the_desktop(machine: Machine) -> None:
    machine.desktop()
    notifier = machine.notifier()
    notifier.tell(HostEvent(EventKind.ISOLATED, AT, HOSTILE))
    assert notifier.drain(ENOUGH_S)
    body = str(machine.shown[0]["arguments"][4])
    assert "&lt;b&gt;&amp;amp;&lt;/b&gt;" in body
    assert body.replace("\n", "").isprintable()
    assert "\nRELEASED" not in body
    assert len(body) < 2500


@needs_dbus
@pytest.mark.parametrize(
    ("manner", "service", "words"),
    [
        ("refuse", True, "too many"),
        ("silent", True, "no answer in time"),
        ("", False, "org.freedesktop.Notifications"),
    ],
)
def test_a_desktop_that_does_not_show_it_is_logged(
    machine: Machine, caplog: pytest.LogCaptureFixture, manner: str, service: bool, words: str
) -> None:
    machine.desktop(*filter(None, [manner]), service=service)
    notifier = machine.notifier()
    notifier.tell(ISOLATED)
    assert notifier.drain(ENOUGH_S)
    assert "notify desktop failed (exit 1)" in warnings(caplog)
    assert words in warnings(caplog)
    assert machine.motd.exists()


@pytest.mark.enable_socket
@pytest.mark.parametrize(
    "flood", [b"", b"A" * 1_000_000, b"OK x\r\n" + b"l\x02\x00\x01\xff\xff\xff\x07" * 500]
)
def test_a_bus_that_hangs_or_floods_is_given_up(
    machine: Machine, caplog: pytest.LogCaptureFixture, flood: bytes
) -> None:
    """The socket is the user's: whatever he puts there must not hold or hurt us."""
    bus = machine.session()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(bus))
        os.chown(bus, SESSION_USER, -1)
        server.listen()
        notifier = machine.notifier()
        notifier.tell(ISOLATED)
        caller, _ = server.accept()
        with caller:
            with contextlib.suppress(OSError):  # it may hang up when it has had enough
                caller.sendall(flood)
            assert notifier.drain(ENOUGH_S)
    assert "notify desktop failed (exit 1)" in warnings(caplog)


@needs_root
@needs_dbus
def test_one_bad_session_does_not_keep_it_from_another(
    machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    machine.desktop()
    bad = machine.session(uid=1)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(bad))
        os.chown(bad, 1, -1)
        server.listen()
        notifier = machine.notifier()
        notifier.tell(ISOLATED)
        assert notifier.drain(ENOUGH_S)
    assert len(machine.shown) == 1
    assert f"{bad}: no answer in time" in warnings(caplog) or f"{bad}: TimeoutError" in warnings(caplog)


@needs_root
@pytest.mark.enable_socket
def test_only_a_socket_of_the_right_user_counts_as_a_session(
    machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(machine.session(uid=1)))  # root's socket in a directory of user 1
        server.listen()
        machine.session(uid=2).write_text("a file")
        machine.session(uid=3).symlink_to(machine.root / "run/user/1/bus")
        (machine.root / "run/user/name").mkdir()
        notifier = machine.notifier()
        notifier.tell(ISOLATED)
        assert notifier.drain(ENOUGH_S)
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.accept()
    assert "desktop" not in caplog.text


def test_without_any_bus_nothing_is_wrong(machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
    notifier = machine.notifier()
    notifier.tell(ISOLATED)
    assert notifier.drain(ENOUGH_S)
    assert caplog.text == ""


# Message of the day


def test_motd_tells_the_state_to_whoever_logs_in_later(machine: Machine) -> None:
    notifier = machine.notifier()
    notifier.clear()
    mask = os.umask(0o077)
    try:
        notifier.tell(ISOLATED)
        assert notifier.drain(ENOUGH_S)
    finally:
        os.umask(mask)
    text = machine.motd.read_text()
    assert "has been isolated" in text
    assert "隔離されました" in text
    assert machine.motd.stat().st_mode & 0o777 == 0o644
    notifier.tell(RELEASED)
    assert notifier.drain(ENOUGH_S)
    assert "no longer isolated" in machine.motd.read_text()
    notifier.clear()
    notifier.clear()
    assert notifier.drain(ENOUGH_S)
    assert sorted(each.name for each in (machine.root / "run").rglob("*")) == ["motd.d"]


def test_an_unfinished_motd_never_lies_where_it_would_be_shown(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[list[str]] = []
    replace = os.replace

    def watched(source: str, target: Path) -> None:
        shown.append(os.listdir(target.parent))
        replace(source, target)

    monkeypatch.setattr(os, "replace", watched)
    notifier = machine.notifier()
    notifier.tell(ISOLATED)
    notifier.tell(RELEASED)
    assert notifier.drain(ENOUGH_S)
    assert shown == [[], ["isolator"]]


def test_a_failed_release_leaves_the_notice_of_isolation(machine: Machine) -> None:
    notifier = machine.notifier()
    for kind in (EventKind.ISOLATED, EventKind.RELEASE_FAILED, EventKind.POLICY_UPDATED):
        notifier.tell(HostEvent(kind, AT))
    assert notifier.drain(ENOUGH_S)
    assert "has been isolated" in machine.motd.read_text()


def test_a_motd_that_cannot_be_written_is_logged_and_the_rest_goes_on(
    machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    machine.motd.mkdir(parents=True)
    notifier = machine.notifier(machine.script("hook", f"cat > {machine.root}/heard"))
    notifier.tell(ISOLATED)
    assert notifier.drain(ENOUGH_S)
    assert "notify motd failed" in warnings(caplog)
    assert (machine.root / "heard").exists()
    assert os.listdir(machine.root / "run") == ["motd.d"]  # no unfinished file left


def test_a_link_in_place_of_the_motd_is_replaced_and_not_followed(machine: Machine) -> None:
    machine.motd.parent.mkdir(parents=True)
    machine.motd.symlink_to(machine.root / "victim")
    notifier = machine.notifier()
    notifier.tell(ISOLATED)
    assert notifier.drain(ENOUGH_S)
    assert not machine.motd.is_symlink()
    assert not (machine.root / "victim").exists()


# Terminals


def test_wall_gets_the_message_on_stdin_cleaned(machine: Machine) -> None:
    wall = machine.script(
        "wall", f'printf "%s|" "$#" "$LC_ALL" > {machine.root}/wall.out; cat >> {machine.root}/wall.out'
    )
    notifier = machine.notifier(wall=wall)
    notifier.tell(HostEvent(EventKind.ISOLATED, AT, HOSTILE))
    notifier.tell(HostEvent(EventKind.POLICY_UPDATED, AT))
    assert notifier.drain(ENOUGH_S)
    arguments, locale, text = (machine.root / "wall.out").read_text().split("|")
    assert (arguments, locale) == ("0", "C.UTF-8")
    assert text.startswith("This device has been isolated")
    assert text.replace("\n", "").isprintable()
    assert "RELEASED" not in [line.strip() for line in text.splitlines()]


def test_a_root_without_a_wall_program_reaches_no_terminal(machine: Machine) -> None:
    places = NotifyPlaces.from_environ({"ISOLATOR_NOTIFY_ROOT": str(machine.root)})
    assert places == NotifyPlaces(machine.motd, machine.root / "run/user", utmp=None, wall=None)


def test_a_wall_program_that_is_not_there_is_logged(
    machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    notifier = machine.notifier(wall=str(machine.root / "no-wall"))
    notifier.tell(ISOLATED)
    assert notifier.drain(ENOUGH_S)
    assert "there is no program" in warnings(caplog)


def test_the_machines_own_places_without_a_root() -> None:
    assert NotifyPlaces.from_environ({}) == NotifyPlaces()
    assert NotifyPlaces.from_environ({"ISOLATOR_NOTIFY_WALL": "/bin/w"}).wall == "/bin/w"


def utmp_record(kind: int, line: bytes) -> bytes:
    size = 400 if os.uname().machine == "aarch64" else 384
    return (kind.to_bytes(4, sys.byteorder) + bytes(4) + line.ljust(32, b"\0")).ljust(size, b"\0")


def test_without_wall_the_terminals_in_utmp_are_written_to(machine: Machine) -> None:
    master, terminal = os.openpty()
    other, logged_out = os.openpty()
    devices = machine.root / "dev"
    devices.mkdir()
    (devices / "pts").symlink_to("/dev/pts")
    (devices / "tty1").write_text("no terminal")
    (devices / "tty2").symlink_to(os.ttyname(logged_out))
    unwanted = os.ttyname(logged_out).removeprefix("/dev/").encode()
    records = [
        utmp_record(7, os.ttyname(terminal).removeprefix("/dev/").encode()),
        utmp_record(8, unwanted),
        utmp_record(7, b"../dev/" + unwanted),
        utmp_record(7, os.ttyname(logged_out).encode()),
        utmp_record(7, b"pts/99999"),
        utmp_record(7, b"tty1"),
        utmp_record(7, b"tty2"),
        b"cut off",
    ]
    (machine.root / "utmp").write_bytes(b"".join(records))
    places = NotifyPlaces(machine.motd, machine.root / "none", machine.root / "utmp", devices, wall=None)
    notifier = PersonNotifier(NotifySettings(), places, environ={})
    notifier.tell(ISOLATED)
    assert notifier.drain(ENOUGH_S)
    text = os.read(master, 65_536).decode()
    assert "This device has been isolated" in text
    assert "連絡先: SOC 110" in text
    os.set_blocking(other, False)
    with pytest.raises(BlockingIOError):
        os.read(other, 1)
    assert (devices / "tty1").read_text() == "no terminal"
    for each in (master, terminal, other, logged_out):
        os.close(each)


def test_what_wall_leaves_behind_is_ended(machine: Machine) -> None:
    wall = machine.script("wall", f"sleep 300 & echo $! > {machine.root}/pid")
    notifier = machine.notifier(wall=wall)
    notifier.tell(ISOLATED)
    assert notifier.drain(ENOUGH_S)
    until(lambda: not is_alive(int((machine.root / "pid").read_text())))


# The organisation's hook


def test_the_hook_reads_json_in_a_process_group_of_its_own(machine: Machine) -> None:
    hook = machine.script(
        "hook",
        f'cat >> {machine.root}/heard; echo "$1|$(pwd)|$LANG|$$|$(ps -o pgid= -p $$)" >> {machine.root}/how',
    )
    notifier = machine.notifier(hook, "two words; $(reboot)")
    notifier.tell(HostEvent(EventKind.ISOLATED, AT, HOSTILE, "full", expires_at=AT))
    notifier.tell(HostEvent(EventKind.POLICY_UPDATED, AT))
    notifier.tell(RELEASED)
    assert notifier.drain(ENOUGH_S)
    events = [json.loads(line) for line in (machine.root / "heard").read_text().splitlines()]
    assert [each["event"] for each in events] == ["isolated", "policy_updated", "released"]
    assert events[0]["expires_at"] == AT
    assert events[0]["reason"].isprintable()
    assert len(events[0]["reason"]) <= 400
    word, directory, locale, pid, group = (machine.root / "how").read_text().splitlines()[0].split("|")
    assert (word, directory, locale) == ("two words; $(reboot)", "/", "C.UTF-8")
    assert int(pid) == int(group) != os.getpgrp()


def test_the_contact_of_the_settings_is_told_unless_the_event_has_one(machine: Machine) -> None:
    hook = machine.script("hook", f"cat >> {machine.root}/heard")
    settings = NotifySettings((hook,), "help desk")
    notifier = PersonNotifier(settings, environ={"ISOLATOR_NOTIFY_ROOT": str(machine.root)})
    notifier.tell(HostEvent(EventKind.ISOLATED, AT))
    notifier.tell(RELEASED)
    assert notifier.drain(ENOUGH_S)
    events = [json.loads(line) for line in (machine.root / "heard").read_text().splitlines()]
    assert [each["contact"] for each in events] == ["help desk", "SOC 110"]


def test_a_failing_hook_is_logged_with_what_it_said(
    machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    notifier = machine.notifier(machine.script("hook", "printf 'no\\033[31m mail\\n' >&2; exit 3"))
    notifier.tell(ISOLATED)
    assert notifier.drain(ENOUGH_S)
    assert "notify command failed (exit 3): no mail" in warnings(caplog)


@pytest.mark.parametrize("command", ["/nonexistent/hook", "no-such-program", "/etc/hostname", "/"])
def test_a_hook_that_cannot_start_is_logged(
    machine: Machine, caplog: pytest.LogCaptureFixture, command: str
) -> None:
    notifier = machine.notifier(command)
    notifier.tell(ISOLATED)
    assert notifier.drain(ENOUGH_S)
    assert "notify command failed" in warnings(caplog)


def test_a_hanging_hook_is_killed_with_its_children(
    machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    hook = machine.script("hook", f"sleep 300 & echo $! > {machine.root}/pid; trap '' TERM; wait; sleep 300")
    notifier = machine.notifier(hook, run_limit_s=2.0)
    notifier.tell(ISOLATED)
    assert notifier.drain(ENOUGH_S)
    assert "notify command failed (killed after 2 s)" in warnings(caplog)
    until(lambda: not is_alive(int((machine.root / "pid").read_text())))


def test_a_hook_that_closed_its_output_is_still_killed(
    machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    notifier = machine.notifier(machine.script("hook", "exec >&- 2>&- <&-; sleep 300"), run_limit_s=0.5)
    notifier.tell(ISOLATED)
    assert notifier.drain(ENOUGH_S)
    assert "killed after 0.5 s" in warnings(caplog)


def test_a_hooks_own_background_child_is_neither_waited_for_nor_killed(machine: Machine) -> None:
    notifier = machine.notifier(machine.script("hook", f"sleep 300 & echo $! > {machine.root}/pid"))
    notifier.tell(ISOLATED)
    assert notifier.drain(ENOUGH_S)
    child = int((machine.root / "pid").read_text())
    assert is_alive(child)
    os.kill(child, 9)


def test_a_hook_that_floods_its_output_fills_no_memory_and_no_log(
    machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    notifier = machine.notifier(machine.script("hook", "head -c 20000000 /dev/zero | tr '\\0' x; exit 1"))
    notifier.tell(ISOLATED)
    assert notifier.drain(ENOUGH_S)
    assert "(exit 1): xxx" in warnings(caplog)
    assert len(warnings(caplog)) < 5000


def test_only_the_first_bytes_of_a_hooks_output_are_kept(machine: Machine) -> None:
    script = machine.script("hook", f"head -c {OUTPUT_LIMIT} /dev/zero; echo late; exit 0")
    assert run_bounded((script,), b"", ENOUGH_S) == ("exit 0", "")


def test_a_hanging_channel_delays_no_other_and_the_newest_news_survives(
    machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    gate = machine.root / "gate"
    os.mkfifo(gate)
    hook = machine.script("hook", f"cat >> {machine.root}/heard; read line < {gate}")
    notifier = machine.notifier(hook)
    notifier.tell(ISOLATED)
    until((machine.root / "heard").exists)
    for number in range(3 * QUEUE_LIMIT):
        notifier.tell(HostEvent(EventKind.POLICY_UPDATED, AT, str(number)))
    notifier.tell(RELEASED)
    until(lambda: machine.motd.exists() and "no longer isolated" in machine.motd.read_text())
    assert not notifier.drain(0.0)
    opened = os.open(gate, os.O_RDWR)
    os.write(opened, b"\n" * 100)
    assert notifier.drain(ENOUGH_S)
    os.close(opened)
    events = [json.loads(line) for line in (machine.root / "heard").read_text().splitlines()]
    assert len(events) == 1 + QUEUE_LIMIT
    assert events[0]["event"] == "isolated"
    assert [each["reason"] for each in events[-3:]] == ["46", "47", "cleaned"]
    assert "behind" in warnings(caplog)


# Threads


def test_no_thread_is_left_when_all_is_told(machine: Machine) -> None:
    notifier = machine.notifier(machine.script("hook", "cat > /dev/null"))
    notifier.tell(ISOLATED)
    assert notifier.drain(ENOUGH_S)
    until(lambda: not [each for each in threading.enumerate() if each.name.startswith("notify-")])


def test_no_thread_to_be_had_is_logged_and_the_next_message_brings_both(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[HostEvent | None] = []
    lane = Lane("motd", told.append)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", _no_thread)
        lane.put(ISOLATED)
    assert "can't start new thread" in warnings(caplog)
    lane.put(RELEASED)
    assert lane.wait(ENOUGH_S)
    assert told == [ISOLATED, RELEASED]


def _no_thread(self: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


def test_a_mistake_in_a_channel_is_logged_and_the_next_message_gets_its_turn(
    caplog: pytest.LogCaptureFixture,
) -> None:
    told: list[HostEvent | None] = []

    def deliver(event: HostEvent | None) -> None:
        told.append(event)
        raise KeyError("a mistake")

    lane = Lane("motd", deliver)
    lane.put(ISOLATED)
    lane.put(None)
    assert lane.wait(ENOUGH_S)
    assert told == [ISOLATED, None]
    assert warnings(caplog).count("notify motd failed") == 2
