"""Sends forged DNS answers over a raw socket. One JSON command a line, one answer.

wrong_ids: {"do", "query", "source", "to", "to_port", "forged", "right", "per_second"} -> {"sent"}: the
query's answer with every id but the right one.
right: the same keys and "count" -> {"sent"}: the perfect answer, that many times.
"""

from __future__ import annotations

import json
import socket
import sys
import time
from collections.abc import Iterable
from ipaddress import ip_address
from typing import Any

from isolator.model.datagram import Datagram
from isolator.wire.ip_packet import render_udp


def forged_answer(query: bytes, address: str, ident: int) -> bytes:
    """The answer to a query without EDNS: its question and one address, TTL 600."""
    header = ident.to_bytes(2, "big") + b"\x81\x80\0\x01\0\x01\0\0\0\0"
    record = b"\xc0\x0c\0\x01\0\x01\0\0\x02\x58\0\x04" + socket.inet_aton(address)
    return header + query[12:] + record


def send(message: dict[str, Any], idents: Iterable[int], per_second: int) -> int:
    """Send one packet an id at that pace; how many went out."""
    query = bytes.fromhex(message["query"])
    sent = 0
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        started = time.perf_counter()
        for ident in idents:
            payload = forged_answer(query, message["forged"], ident)
            datagram = Datagram(
                ip_address(message["source"]), 53, ip_address(message["to"]), message["to_port"], payload
            )
            raw.sendto(render_udp(datagram), (message["to"], 0))
            sent += 1
            ahead = sent / per_second - (time.perf_counter() - started)
            if ahead > 0.002:
                time.sleep(ahead)
    return sent


def main() -> None:
    """Answer commands until the input closes."""
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        message = json.loads(line)
        right = message["right"]
        if message["do"] == "wrong_ids":
            idents: Iterable[int] = (n for n in range(65_536) if n != right)
        else:
            idents = (right for _ in range(message["count"]))
        print(json.dumps({"sent": send(message, idents, message["per_second"])}), flush=True)


if __name__ == "__main__":
    main()
