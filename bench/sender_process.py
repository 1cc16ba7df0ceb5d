"""Sends 64-byte datagrams as fast as it can and tells what one costs in processor time.

Arguments: address, port. On its input a number a line: that many are sent; the answer is the nanoseconds of
this process's own time for each, what the kernel did for it included.
"""

from __future__ import annotations

import os
import socket
import sys
import time

SIZE = 64


def main(address: str, port: int) -> None:
    """Answer until the input closes."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.connect((address, port))
        send, payload = sender.send, b"x" * SIZE
        for line in sys.stdin:
            count = int(line)
            started = time.process_time_ns()
            for _ in range(count):
                send(payload)
            print((time.process_time_ns() - started) / count, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
