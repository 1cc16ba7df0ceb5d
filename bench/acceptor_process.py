"""Accepts connections on every address of its namespace and closes them. Argument: the port."""

from __future__ import annotations

import socket
import sys
import threading


def serve(listener: socket.socket) -> None:
    """Accept and close for ever; a caller that is gone already is no affair of ours."""
    while True:
        try:
            listener.accept()[0].close()
        except OSError:
            continue


def main(port: int) -> None:
    """Serve until the input closes."""
    listener = socket.create_server(("0.0.0.0", port), backlog=4096)
    threading.Thread(target=serve, args=(listener,), daemon=True).start()
    print('{"ready": true}', flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(int(sys.argv[1]))
