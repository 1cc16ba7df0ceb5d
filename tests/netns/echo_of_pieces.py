"""What becomes of bytes that are sent to an echo port piece by piece: what comes back has passed."""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence


def echo_of(sock: socket.socket, door: tuple[str, int], pieces: Sequence[bytes], pause_s: float = 0.0) -> str:
    """Connect and send: "echo" when all came back, else what ended it."""
    sent = b"".join(pieces)
    got = b""
    try:
        sock.connect(door)
        for piece in pieces:
            sock.sendall(piece)
            time.sleep(pause_s)
        while len(got) < len(sent):
            part = sock.recv(65536)
            if not part:
                return "closed"
            got += part
    except ConnectionError:
        return "reset"
    except TimeoutError:
        return "timeout"
    return "echo" if got == sent else "other bytes"
