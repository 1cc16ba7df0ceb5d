"""One case of the catalogue: what is broken, how, and what a right verdict is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from connectivity_check.failure import Failure, Layer
from tests.faults import world
from tests.faults.lab import FaultLab
from tests.faults.topology import ADDRESSES, ISP, SITE
from tests.faults.world import GW1, USUAL, Place

Make = Callable[[FaultLab], None]
BLOCKED = frozenset({"blocked"})
WORKS = frozenset({"reachable", "degraded"})
"""The endpoint can be used; the finding is a warning or a remark."""
UNSURE = frozenset({"blocked", "unexplained"})
"""Everything fails, so nothing can be held against it: naming what failed is all one can ask for."""
AT_SITE, AT_ISP = frozenset({ADDRESSES[SITE].v4}), frozenset({ADDRESSES[ISP].v4})

_BUCKETS = {
    Layer.IP: "tcp", Layer.NET: "tcp", Layer.TCP: "tcp", Layer.DNS: "dns", Layer.PROXY: "proxy",
    Layer.TLS: "tls", Layer.HTTP: "http", Layer.REVOCATION: "http", Layer.CLOCK: "clock", Layer.META: "meta",
}  # fmt: skip


def bucket(code: Failure) -> str:
    """The layer as coarse as the peers can tell it: tcp holds ip and net, http holds revocation files."""
    return _BUCKETS[code.layer]


@dataclass(frozen=True, slots=True)
class Case:
    """`code` None: a healthy network that must raise no alarm."""

    id: str
    title: str
    code: Failure | None
    make: Make
    way: str = "direct"
    hits: tuple[Place, ...] = (GW1,)
    """Rows the fault hits; the first is the one that is judged, all must not pass."""
    places: tuple[Place, ...] = USUAL
    patterns: tuple[str, ...] = ()
    """Further rows without a known host."""
    outcomes: frozenset[str] = BLOCKED
    """Right outcomes of the rows that are hit."""
    blocked_by: frozenset[str] = frozenset()
    """Right addresses of `blocked_by`; empty: not judged."""
    also: frozenset[Failure] = frozenset()
    """Codes that name the same cause as well."""
    layers: frozenset[str] = frozenset()
    """Right layers besides that of the code: where the fault shows itself to a client."""
    anywhere: bool = False
    """The finding may stand on any row or on the run: it is no matter of one endpoint."""
    pattern_hit: str = ""
    """The row that is hit is this pattern, not a place."""
    all_hit: bool = False
    """Every row is hit."""

    @property
    def all_places(self) -> tuple[Place, ...]:
        """The rows, those that are hit included."""
        return tuple(dict.fromkeys((*self.hits, *self.places)))

    @property
    def blocking(self) -> bool:
        """Whether an endpoint that is hit cannot be used: reporting it reachable is a false pass."""
        return self.code is not None and "blocked" in self.outcomes and "reachable" not in self.outcomes

    @property
    def right_layers(self) -> frozenset[str]:
        """What may be said about where it is."""
        return self.layers | ({bucket(self.code)} if self.code else frozenset())

    @property
    def hit_hosts(self) -> frozenset[tuple[str, int]]:
        """Host and port of each row that is hit."""
        places = self.all_places if self.all_hit else self.hits
        return frozenset((place.host, place.port) for place in places)


def both(*steps: Make) -> Make:
    """One after the other."""

    def make(lab: FaultLab) -> None:
        for step in steps:
            step(lab)

    return make


def dual_stack(lab: FaultLab) -> None:
    """Give every place an IPv6 address in every resolver's answers."""
    from tests.faults.names import Record

    for place in world.PLACES:
        lab.truth[place.host] = Record((place.v4,), (place.v6,))
