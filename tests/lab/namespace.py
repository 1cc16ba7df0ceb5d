"""One network namespace of a lab: run programs in it, open sockets in it, run a function in it."""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from tests.lab import kernel
from tests.lab.failure import LabError
from tests.lab.leftovers import NETNS_DIRECTORY

T = TypeVar("T")
_SIOCGIFFLAGS, _IFF_RUNNING = 0x8913, 0x40

# A world of its own around the programs of a namespace: its own /etc/resolv.conf, a private /run (so that
# wall, motd, D-Bus, xtables.lock and default agent paths of the real machine stay out of reach), and a /sys
# that shows this namespace's interfaces. /sys is best effort: nested containers refuse a second sysfs.
_WORLD_SCRIPT = """
set -e
target=$(readlink -m /etc/resolv.conf)
mount -t tmpfs -o mode=755 lab-run /run
mkdir -p /run/lock /run/netns /run/.cgroup
case "$target" in /run/*) mkdir -p "$(dirname "$target")"; : > "$target" ;; esac
mount --bind "$1" "$target"
if mount --rbind /sys/fs/cgroup /run/.cgroup 2>/dev/null; then
    if mount -t sysfs lab-sys /sys 2>/dev/null; then
        mount --move /run/.cgroup /sys/fs/cgroup
    else
        umount -l /run/.cgroup
    fi
fi
echo ready
read -r _
"""


@dataclass(frozen=True, slots=True)
class Addresses:
    """The addresses a namespace has for the others to use."""

    v4: str
    v6: str


@dataclass(slots=True)
class Namespace:
    """A named network namespace, together with a mount namespace for the programs that run in it.

    Every process started through ``popen`` is ended when the lab closes; sockets belong to the caller.
    """

    name: str
    role: str
    addresses: Addresses
    resolv_conf: Path
    _started: list[subprocess.Popen[Any]] = field(default_factory=list, repr=False)
    _world: int | None = field(default=None, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def path(self) -> Path:
        """The file that stands for the network namespace (setns, nsenter --net)."""
        return NETNS_DIRECTORY / self.name

    def command(self, argv: Sequence[str]) -> list[str]:
        """``argv`` as a command line that this process (nobody else) can start to run it inside."""
        world = f"/proc/{os.getpid()}/fd/{self._world_fd()}"
        return ["nsenter", f"--net={self.path}", f"--mount={world}", f"--wdns={os.getcwd()}", "--", *argv]

    def popen(self, argv: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
        """Start a program inside; options as for subprocess.Popen. It is ended with the lab at the latest."""
        process: subprocess.Popen[Any] = subprocess.Popen(self.command(argv), **options)
        self._started.append(process)
        return process

    def run(
        self,
        argv: Sequence[str],
        timeout: float = 10.0,
        *,
        stdin: str | None = None,
        env: Mapping[str, str] | None = None,
        check: bool = False,
    ) -> subprocess.CompletedProcess[str]:
        """Run a program inside to its end, output as text; TimeoutExpired after ``timeout`` seconds."""
        return subprocess.run(
            self.command(argv),
            timeout=timeout,
            input=stdin,
            env=env,
            check=check,
            capture_output=True,
            text=True,
        )

    def in_namespace(self, action: Callable[[], T], *, world: bool = False) -> T:
        """Run ``action`` in a thread that lives in this network namespace and give its result or exception.

        With ``world`` the thread also sees the namespace's files (its /etc/resolv.conf, so getaddrinfo asks
        the lab's resolver). What the action opens stays in the namespace after the thread has ended.
        """
        outcome: list[T] = []
        failure: list[BaseException] = []

        def enter() -> None:
            try:
                with self.path.open() as net:
                    kernel.setns(net.fileno(), kernel.CLONE_NEWNET)
                if world:
                    kernel.unshare(
                        kernel.CLONE_FS
                    )  # a thread may change its mounts only with an fs of its own
                    kernel.setns(self._world_fd(), kernel.CLONE_NEWNS)
                outcome.append(action())
            except BaseException as error:  # noqa: BLE001 - handed to the caller, whatever it is
                failure.append(error)

        thread = threading.Thread(target=enter, name=f"in-{self.role}", daemon=True)
        thread.start()
        thread.join()
        if failure:
            raise failure[0]
        return outcome[0]

    def socket(
        self, family: int = socket.AF_INET, kind: int = socket.SOCK_STREAM, protocol: int = 0
    ) -> socket.socket:
        """A new socket that belongs to this namespace; the caller closes it."""
        return self.in_namespace(lambda: socket.socket(family, kind, protocol))

    def write_sysctls(self, settings: Mapping[str, str]) -> None:
        """Write network sysctls inside (names with slashes, "net/ipv4/ip_forward"); LabError when refused."""
        try:
            self.in_namespace(lambda: kernel.write_sysctls(settings))
        except OSError as error:
            raise LabError("lab.sysctl_refused", f"set sysctls in {self.role}", str(error)) from error

    def wait_for_carrier(self, timeout_s: float = 3.0) -> None:
        """Wait until every interface but lo counts as running; LabError names those that never do."""
        deadline = time.monotonic() + timeout_s
        with self.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
            while waiting := [
                name for name in self.interfaces() if name != "lo" and not _runs(control, name)
            ]:
                if time.monotonic() > deadline:
                    raise LabError("lab.no_carrier", f"bring up {self.role}", ", ".join(waiting))
                time.sleep(0.002)

    def interfaces(self) -> tuple[str, ...]:
        """Names of the interfaces inside, in index order."""
        return self.in_namespace(lambda: tuple(name for _, name in socket.if_nameindex()))

    def end_processes(self, patience_s: float = 0.5) -> None:
        """End what ``popen`` started: asked first, killed after ``patience_s``; pipes closed."""
        alive = [process for process in self._started if process.poll() is None]
        for process in alive:
            process.terminate()
        for process in alive:
            try:
                process.wait(patience_s)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for process in self._started:
            for stream in (process.stdin, process.stdout, process.stderr):
                _close_quietly(stream)
        self._started.clear()

    def close(self) -> None:
        """End the processes and let the mount namespace go. The network namespace is the lab's to delete."""
        self.end_processes()
        if self._world is not None:
            os.close(self._world)
            self._world = None

    def _world_fd(self) -> int:
        with self._lock:
            if self._world is None:
                self._world = self._make_world()
            return self._world

    def _make_world(self) -> int:
        argv = ["nsenter", f"--net={self.path}", "--", "unshare", "--mount", "--", "sh", "-c", _WORLD_SCRIPT]
        pipe = subprocess.PIPE
        with subprocess.Popen(
            [*argv, "sh", str(self.resolv_conf)], stdin=pipe, stdout=pipe, stderr=pipe
        ) as maker:
            assert maker.stdout is not None
            assert maker.stderr is not None
            if maker.stdout.readline() != b"ready\n":
                raise LabError(
                    "lab.mount_refused", f"prepare files of {self.role}", maker.stderr.read().decode().strip()
                )
            # An open descriptor keeps the mount namespace; it goes when this process does, however it ends.
            return os.open(f"/proc/{maker.pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)


def _runs(control: socket.socket, interface: str) -> bool:
    """IFF_RUNNING of netdevice(7): up, and its carrier has been noticed."""
    request = struct.pack("16sH22x", interface.encode(), 0)
    flags: int = struct.unpack_from("16sH", fcntl.ioctl(control, _SIOCGIFFLAGS, request))[1]
    return bool(flags & _IFF_RUNNING)


def _close_quietly(stream: Any) -> None:
    if stream is None:
        return
    try:
        stream.close()
    except BrokenPipeError:  # what was still buffered for a process that has ended
        return
