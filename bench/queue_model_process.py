"""A model of what is measured against: every packet goes through a queue to Python, which accepts it.

Argument: the queue number. Ends when its input closes.
"""

from __future__ import annotations

import sys
import threading
import warnings

from netfilterqueue import NetfilterQueue


def main(number: int) -> None:
    """Accept packets until the input closes."""
    queue = NetfilterQueue()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        queue.bind(number, lambda packet: packet.accept(), max_len=8192)
    threading.Thread(target=queue.run, daemon=True).start()
    print("ready", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(int(sys.argv[1]))
