"""A connection that was open before: does it still echo, and was the socket told when it was cut?"""

from __future__ import annotations

import errno
import secrets
import select
import socket
import time
from types import TracebackType


def describe(error: OSError) -> str:
    """One word for what stopped a socket: timeout, or the errno's name."""
    if isinstance(error, TimeoutError):
        return "timeout"
    return errno.errorcode.get(error.errno or 0, type(error).__name__)


class Session:
    """One open TCP connection or connected UDP socket to an echo (or stream) port."""

    def __init__(self, sock: socket.socket) -> None:
        """Takes over a connected socket and closes it in the end."""
        self.socket = sock

    @property
    def local(self) -> tuple[str, int]:
        """Own address and port."""
        name = self.socket.getsockname()
        return name[0], name[1]

    def echoes(self, timeout_s: float = 0.5) -> bool:
        """Send a word: does it come back? Earlier echoes that arrive late do not count as this one."""
        word = secrets.token_hex(8).encode() + b"\n"
        try:
            self.socket.send(word)
            return self._wait_for(word, timeout_s)
        except OSError:
            return False

    def bytes_within(self, seconds: float) -> int:
        """How many bytes arrive in the next ``seconds`` (for stream ports); stops early at end or error."""
        total = 0
        deadline = time.monotonic() + seconds
        while select.select([self.socket], [], [], max(0.0, deadline - time.monotonic()))[0]:
            try:
                piece = self.socket.recv(65536)
            except OSError:
                break
            if not piece:
                break
            total += len(piece)
        return total

    def told(self, timeout_s: float = 1.0) -> str | None:
        """How the kernel told this socket that it is over: an errno's name, "closed"; None if it did not.

        Data that is still queued is read away first: a reset behind it counts.
        """
        deadline = time.monotonic() + timeout_s
        poll = select.poll()
        poll.register(self.socket, select.POLLIN | select.POLLERR | select.POLLHUP)
        while True:
            left = deadline - time.monotonic()
            if left <= 0 or not poll.poll(left * 1000):
                return None
            try:
                piece = self.socket.recv(65536, socket.MSG_DONTWAIT)
            except BlockingIOError:
                continue
            except OSError as error:
                return describe(error)
            if not piece and self.socket.type == socket.SOCK_STREAM:
                return "closed"

    def close(self) -> None:
        """Hang up; a second call does nothing."""
        self.socket.close()

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _wait_for(self, word: bytes, timeout_s: float) -> bool:
        deadline = time.monotonic() + timeout_s
        got = b""
        while word not in got:
            readable = select.select([self.socket], [], [], max(0.0, deadline - time.monotonic()))[0]
            piece = self.socket.recv(65536) if readable else b""
            if not piece:
                return False
            got = (got + piece)[-65536 - len(word) :]
        return True
