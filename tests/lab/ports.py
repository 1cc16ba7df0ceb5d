"""Which services the lab's servers offer where; read by the servers and by those who reach for them."""

from __future__ import annotations

from collections.abc import Sequence

HTTP, TLS = 80, 443
ECHO = 7
"""TCP and UDP."""
STREAM = 19
"""TCP; sends a numbered line every few milliseconds for as long as the client stays."""
SSH, SMB, RDP, DOT, ALTERNATE_TLS = 22, 445, 3389, 853, 8443
"""TCP echo under the numbers an attacker likes."""
STREAM_WORD = b"LAB-STREAM"
"""Begins every line of the stream: the judge can look for it."""

Ports = Sequence[tuple[str, int]]
"""(kind, port): kind is tls, http, tcp_echo, udp_echo or stream."""

ON_THE_INTERNET: Ports = (
    ("tls", TLS),
    ("http", HTTP),
    ("tls", ALTERNATE_TLS),
    ("stream", STREAM),
    *(("tcp_echo", port) for port in (ECHO, SSH, 53, DOT, SMB)),
    *(("udp_echo", port) for port in (ECHO, 53, TLS, DOT, 5353, 4500)),
)
ON_THE_NEIGHBOUR: Ports = (
    ("http", HTTP),
    ("stream", STREAM),
    *(("tcp_echo", port) for port in (ECHO, SSH, SMB, RDP)),
    ("udp_echo", ECHO),
)
