"""One TCP segment on its way out, and what is done about it."""

from __future__ import annotations

from dataclasses import dataclass, field

from isolator.model.flow import Address
from isolator.model.verdict import Reason, Verdict


@dataclass(frozen=True, slots=True)
class FlowKey:
    """The two ends of a connection, seen from the client.

    It keeps its hash, because each segment is looked up several times and hashing an address is slow.
    """

    client: Address
    client_port: int
    server: Address
    server_port: int
    _hash: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        ends = (self.client, self.client_port, self.server, self.server_port)
        object.__setattr__(self, "_hash", hash(ends))

    def __hash__(self) -> int:
        return self._hash


@dataclass(frozen=True, slots=True)
class Segment:
    """What the gate reads of a client's segment. `token` is the queue's name for the packet.

    `flags` are nft's names ("syn", "ack", ...). Sequence numbers count modulo 2**32.
    """

    flow: FlowKey
    sequence: int
    acknowledgement: int
    flags: frozenset[str]
    payload: bytes
    token: int


@dataclass(frozen=True, slots=True)
class Reset:
    """The numbers of the two RST segments that end a connection at once (RFC 9293, RFC 5961 section 3).

    `to_server` is the next byte the server expects; `to_client` the next byte the client expects, and
    `acknowledged` what the client has sent so far (a client in SYN-SENT takes no other RST).
    """

    flow: FlowKey
    to_server: int
    to_client: int
    acknowledged: int


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """The numbers of a segment that tells the client its bytes have arrived: `to_client` is the next byte the
    client expects, `acknowledged` the one behind the last that is held for it."""

    flow: FlowKey
    to_client: int
    acknowledged: int


@dataclass(frozen=True, slots=True)
class FlowRuling:
    """What to do now: accept `passed` in this order (marked if `mark`), drop `dropped`, send `resets`.

    `verdict` and `reason` are about the segment that was judged: QUEUE means that it is held, and its token
    comes back in a later ruling. `entry` is the allow-list entry that matched, when one did. `again` are
    those of `passed` whose client was told that they have arrived: if one is lost, only we can send it again.
    `said` is what the client named and was refused for, as in a `Decision`.
    """

    verdict: Verdict
    reason: Reason
    entry: str | None = None
    mark: bool = False
    passed: tuple[int, ...] = ()
    dropped: tuple[int, ...] = ()
    resets: tuple[Reset, ...] = ()
    again: tuple[int, ...] = ()
    said: str | None = field(default=None, compare=False)
