"""Attack table rows 11, 12 and 13: names in the first bytes that are not listed, not here, hidden or read two ways.

| row | held by |
|---|---|
| 11, 12 in every cut of the hello, 13 split hello | also `test_names_on_the_wire.test_each_shape_and_name` |
| 13 second request of a kept connection | also `test_names_on_the_wire.test_http_by_host` |

Each is made on the free device first. The markers are in the hello or head itself and behind it.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.corpus import hellos
from tests.lab import world
from tests.netns.bypass_scene import (
    ALLOWED,
    AT,
    BROWSED,
    FIRST,
    OTHER,
    PORT,
    QUIET,
    SECOND,
    WEB,
    WEB_PORT,
    Played,
    Trick,
    played,
)
from tests.netns.told_bytes import EVIL, Say, hello, naming, saying

pytestmark = pytest.mark.netns

GREASE = hellos.ech(payload=b"p" * 144)
CHROMIUM = dict(hellos.recorded("tls"))["chromium"]


def in_pieces(size: int, name: str = EVIL) -> Say:
    """The hello in small segments."""

    def pieces(marker: bytes) -> list[bytes]:
        whole = hello(name, marker)
        return [*(whole[at : at + size] for at in range(0, len(whole), size)), marker]

    return pieces


def head(host: str, *more: str, line: str = "GET /{} HTTP/1.1", marker: bytes = b"") -> bytes:
    """A request whose target or fields hold the marker."""
    lines = (line.format(marker.decode()), f"Host: {host}", *more)
    return "".join(f"{each}\r\n" for each in lines).encode() + b"\r\n"


TLS: dict[str, tuple[Say, str | None]] = {
    "a name nobody listed": (naming(EVIL), "tls_name_not_allowed"),
    "a name that ends like a listed one": (naming(f"x{ALLOWED}"), "tls_name_not_allowed"),
    "a listed name and more behind it": (naming(f"{ALLOWED}.example.org"), "tls_name_not_allowed"),
    "the name of a neighbour in the list": (naming(OTHER), "tls_name_elsewhere"),
    "the name of another port": (naming(WEB), "tls_name_not_allowed"),
    "no name": (naming(None), "tls_name_missing"),
    "an address for a name": (naming("20.91.0.1"), "tls_name_not_allowed"),
    "a listed name, cut off by a zero": (naming(f"{ALLOWED}\0.example.org"), "tls_unreadable"),
    "a real encrypted hello": (naming("ech.example.org", hellos.ech()), "tls_ech_refused"),
    "an encrypted hello without a name": (naming(None, hellos.ech()), "tls_name_missing"),
    "an inner hello in the open": (naming(ALLOWED, (0xFE0D, b"\1")), "tls_unreadable"),
    "two names": (
        lambda marker: [
            hellos.records(
                hellos.message(hellos.server_name(ALLOWED.encode(), EVIL.encode()), session=marker)
            ),
            marker,
        ],
        "tls_unreadable",
    ),
    "two extensions for names": (naming(ALLOWED, hellos.server_name(EVIL.encode())), "tls_unreadable"),
    "in segments of 16 bytes": (in_pieces(16), "tls_name_not_allowed"),
    "in segments of one byte": (in_pieces(1), "tls_name_not_allowed"),
    "in records of three bytes": (lambda m: [hello(EVIL, m, size=3), m], "tls_name_not_allowed"),
    "an alert before the hello": (lambda m: [b"\x15\3\1\0\2\1\0" + hello(ALLOWED, m), m], "tls_unreadable"),
    "a hello of SSL 2": (lambda m: [b"\x80\x2e\1\0\2" + m * 3, m], "tls_unreadable"),
    "a hello that never ends": (
        lambda m: [b"\x16\3\1\xff\xff\1\0\xff\xff" + m + bytes(40_000)],
        "tls_unreadable",
    ),
    "a request in the clear": (lambda m: [head(ALLOWED, marker=m), m], "tls_unreadable"),
    # What is allowed passes, so that nothing above is held for another reason.
    "the listed name": (naming(ALLOWED), None),
    "the listed name in capitals": (naming(ALLOWED.upper()), None),
    "the listed name in segments of 16 bytes": (in_pieces(16, ALLOWED), None),
    "the listed name and a decoy of an encrypted hello": (naming(ALLOWED, GREASE), None),
}
HTTP: dict[str, tuple[Say, str | None]] = {
    "TLS at port 80": (naming(WEB), "http_unreadable"),
    "a foreign host": (lambda m: [head(EVIL, marker=m), m], "http_host_not_allowed"),
    "a listed host of another port": (lambda m: [head(ALLOWED, marker=m), m], "http_host_not_allowed"),
    "a foreign host behind a listed one": (
        lambda m: [head(WEB, f"Host: {EVIL}", marker=m), m],
        "http_unreadable",
    ),
    "a foreign host in the target": (
        lambda m: [head(WEB, line=f"GET http://{EVIL}/{{}} HTTP/1.1", marker=m), m],
        "http_unreadable",
    ),
    "a foreign host in target and field": (
        lambda m: [head(EVIL, line=f"GET http://{EVIL}/{{}} HTTP/1.1", marker=m), m],
        "http_host_not_allowed",
    ),
    "the second request": (lambda m: [head(WEB), head(EVIL, marker=m)], "http_host_not_allowed"),
    "the second request of one segment": (
        lambda m: [head(WEB) + head(EVIL, marker=m)],
        "http_host_not_allowed",
    ),
    "a tunnel": (
        lambda m: [head(WEB, line=f"CONNECT {WEB}:80 HTTP/1.1"), m],
        "http_host_not_allowed",
    ),
    "raw bytes after an upgrade": (
        lambda m: [head(WEB, "Connection: Upgrade", "Upgrade: x"), b"\0\1" + m],
        "http_unreadable",
    ),
    "HTTP/2 in the clear": (lambda m: [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", m], "http_unreadable"),
    "no host at all": (lambda m: [b"GET /" + m + b" HTTP/1.0\r\n\r\n"], "http_unreadable"),
    "lengths of two kinds": (
        lambda m: [head(WEB, "Content-Length: 5", "Transfer-Encoding: chunked", marker=m) + b"0\r\n\r\n"],
        "http_unreadable",
    ),
    "bare line ends": (
        lambda m: [b"GET /" + m + b" HTTP/1.1\nHost: " + WEB.encode() + b"\n\n"],
        "http_unreadable",
    ),
    "the listed host": (lambda m: [head(WEB, marker=m)], None),
}


def tricks() -> Iterator[Trick]:
    """Every attempt, IPv4 and IPv6."""
    for v in ("v4", "v6"):
        for name, (what, reason) in TLS.items():
            yield Trick(f"{name}, {v}", saying(getattr(AT[ALLOWED], v), PORT, what), reason)
        for name, (what, reason) in HTTP.items():
            yield Trick(f"HTTP: {name}, {v}", saying(getattr(AT[WEB], v), WEB_PORT, what), reason)
        for name, address in (("of nobody", world.UNLISTED_ADDRESS), ("not asked for", AT[QUIET])):
            trick = saying(getattr(address, v), PORT, naming(ALLOWED))
            yield Trick(f"a listed name at an address {name}, {v}", trick, "not_listed")
        sibling = saying(getattr(AT[FIRST], v), PORT, naming(SECOND))
        yield Trick(f"another name of the same wildcard, {v}", sibling, None)
        browser = saying(getattr(AT[BROWSED], v), PORT, lambda m: [CHROMIUM, m])
        yield Trick(f"a browser, {v}", browser, None)


TRICKS = tuple(tricks())


@pytest.fixture(scope="module")
def made() -> Iterator[Played]:
    with played(TRICKS) as opened:
        yield opened


@pytest.mark.parametrize("trick", TRICKS, ids=str)
def test_each_attempt(made: Played, trick: Trick) -> None:
    made.judge(trick)
