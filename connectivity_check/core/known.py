"""What the whole run knows: which rows pass, and what failing rows can be held against."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from connectivity_check.core.facts import addresses_of, number, text
from connectivity_check.failure import Seen
from connectivity_check.model import Observation, Role, Step, Target

SKEW_S = 300.0
"""A clock that is off by more is an explanation for certificate dates (Kerberos allows as much)."""


@dataclass(frozen=True, slots=True)
class Pass:
    """A row that went all the way: what it can serve as a control for."""

    host: str
    port: int
    address: str
    via: str
    suffix: str
    """The last two labels: controls are best of another domain."""


class Passing(Protocol):
    """Whoever knows which rows pass."""

    def control_for(self, target: Target, via: str = "") -> Pass | None:
        """See `control_among`."""


@dataclass(frozen=True, slots=True)
class Known:
    """Facts over all rows. Empty when nothing has passed yet."""

    passes: tuple[Pass, ...] = ()
    answered_names: frozenset[str] = frozenset()
    """Names for which a resolver gave addresses."""
    proxies_connected: frozenset[str] = frozenset()
    """`via` of proxies that opened a tunnel for somebody."""
    names_of: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Address -> suffixes of names for which a resolver gave this address and no other."""
    foreign_roots: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """SPKI of a root that the public bundle does not hold -> hosts that showed it."""
    skews: Mapping[str, float] = field(default_factory=dict)
    slow_syns: int = 0
    """How many connections came to be only after a repeated SYN."""
    connects: int = 0
    stopped_inside: int = 0
    """How many rows fell silent inside TLS with the service's own certificate, where no filter can read."""
    passed_alone: int = 0
    """How many rows were silent among the others and accepted alone, a moment later."""
    proxies_by_address: frozenset[str] = frozenset()
    """Proxies that opened a tunnel to an address, for a row whose name they did not."""
    shared: tuple[Observation, ...] = ()

    def control_for(self, target: Target, via: str = "") -> Pass | None:
        """See `control_among`."""
        return control_among(self.passes, target, via)

    def shared_of(self, role: Role) -> tuple[Observation, ...]:
        """Give the controls of the whole run with this role."""
        return tuple(each for each in self.shared if each.role is role)

    @property
    def skew_s(self) -> float | None:
        """How far this clock is behind (positive) or ahead, when two hosts agree that it is off."""
        off = sorted(skew for skew in self.skews.values() if abs(skew) > SKEW_S)
        if len(off) < 2 or 2 * len(off) <= len(self.skews):
            return None
        return off[len(off) // 2]


def control_among(passes: Iterable[Pass], target: Target, via: str) -> Pass | None:
    """Give a passing row to hold this one against: same way, another host, another domain first."""
    fit = [p for p in passes if p.via == via and p.host != target.host and p.port == target.port]
    suffix = suffix_of(target.host or "")
    return next((p for p in fit if p.suffix != suffix), fit[0] if fit else None)


def suffix_of(name: str) -> str:
    """Give the last two labels; enough to tell unrelated names apart, no more is claimed."""
    return ".".join(name.lower().rstrip(".").split(".")[-2:])


def known(
    targets: Sequence[Target],
    observations: Sequence[Sequence[Observation]],
    shared: Iterable[Observation] = (),
) -> Known:
    """Gather what is known; rows that are not done yet count with what they saw so far."""
    passes: list[Pass] = []
    names: dict[str, set[str]] = defaultdict(set)
    answered: set[str] = set()
    proxies: set[str] = set()
    roots: dict[str, set[str]] = defaultdict(set)
    skews: dict[str, float] = {}
    by_address: set[str] = set()
    slow = connects = alone = inside = 0
    for target, seen in zip(targets, observations, strict=True):
        if target.host is None:
            continue
        for each in seen:
            if each.role is Role.PROBE and each.ok:
                if each.step is Step.RESOLVE:
                    answered.add(target.host)
                    found = addresses_of(each)
                    if len(found) == 1:
                        names[found[0]].add(suffix_of(target.host))
                elif each.step is Step.CONNECT and not each.via:
                    connects += 1
                    slow += number(each, "syns", 1) > 1
            if each.step is Step.PROXY_CONNECT and each.ok:
                proxies.add(each.via)
                if each.role is Role.GOOD_ADDRESS:
                    by_address.add(each.via)
            if each.step is Step.TLS_HANDSHAKE and each.evidence.get("verified_public") is not True:
                spki = text(each, "root_spki_sha256")
                if spki:
                    roots[spki].add(target.host)
            if "skew_s" in each.evidence:
                skews[target.host] = number(each, "skew_s")
        alone += _passed_alone(seen)
        inside += _stopped_inside(seen)
        done = passed(target, seen)
        if done:
            passes.append(done)
    return Known(
        passes=tuple(passes),
        answered_names=frozenset(answered),
        proxies_connected=frozenset(proxies),
        names_of={address: frozenset(group) for address, group in names.items()},
        foreign_roots={spki: frozenset(group) for spki, group in roots.items()},
        skews=skews,
        slow_syns=slow,
        stopped_inside=inside,
        passed_alone=alone,
        proxies_by_address=frozenset(by_address),
        connects=connects,
        shared=tuple(shared),
    )


def _stopped_inside(seen: Sequence[Observation]) -> bool:
    tls = [each for each in seen if each.role is Role.PROBE and each.step is Step.TLS_HANDSHAKE]
    asked = [each for each in seen if each.role is Role.PROBE and each.step is Step.HTTP_ROUND_TRIP]
    own = any(each.evidence.get("verified_public") is True for each in tls)
    return own and bool(asked) and all(each.seen is Seen.TIMEOUT for each in asked)


def _passed_alone(seen: Sequence[Observation]) -> bool:
    tries = [each for each in seen if each.step is Step.CONNECT and not each.via]
    probes = [each for each in tries if each.role is Role.PROBE]
    silent = bool(probes) and not any(each.ok for each in probes)
    return silent and any(each.ok for each in tries if each.role is Role.RETRY)


def passed(target: Target, seen: Sequence[Observation]) -> Pass | None:
    """Give what a row can serve as a control for; None when it has not passed, or not yet."""
    last = [each for each in seen if each.role is Role.PROBE and each.step.order >= Step.TLS_HANDSHAKE.order]
    if not last or not all(each.ok for each in last) or target.host is None:
        return None
    if target.tls and not any(each.step is Step.TLS_HANDSHAKE for each in last):
        return None
    address = next((text(each, "address") for each in last if each.evidence.get("address")), "")
    if not address:
        tcp = [each for each in seen if each.role is Role.PROBE and each.step is Step.CONNECT and each.ok]
        address = text(tcp[0], "address") if tcp else ""
    via = last[-1].via
    return Pass(target.host, target.port, address, via, suffix_of(target.host))
