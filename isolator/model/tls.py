"""What a TLS client says before anything is encrypted."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Ech(Enum):
    """Encrypted ClientHello in a hello (RFC 9849).

    A real outer hello and a GREASE one look the same on purpose (section 6.2), so there is one value for
    both: the judgement goes by the outer name, which a real one takes from the provider, not from the site.
    """

    ABSENT = "absent"
    OUTER = "outer"


@dataclass(frozen=True, slots=True)
class Hello:
    """A whole ClientHello (RFC 8446 section 4.1.2, RFC 5246 section 7.4.1.2).

    `server_name` is lower case without a last dot, None when the client names nobody. `versions` are the
    numbers offered (0x0303 is TLS 1.2), reserved GREASE values (RFC 8701) left out, as in `alpn`.
    `resumes` says that an older session is offered: a ticket or a pre-shared key; `early_data` that bytes
    may follow before the server has spoken (0-RTT). `records` counts the TLS records it came in and `size`
    the bytes, record heads included.
    """

    server_name: str | None
    versions: tuple[int, ...]
    alpn: tuple[bytes, ...] = ()
    ech: Ech = Ech.ABSENT
    resumes: bool = False
    early_data: bool = False
    records: int = 1
    size: int = 0
