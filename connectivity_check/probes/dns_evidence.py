"""What a look-up saw, as an observation: the keys of docs/preflight-evidence.md, section resolve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Address, ip_address, ip_network

from connectivity_check.failure import Seen
from connectivity_check.model import Json
from connectivity_check.probes.dns_answer import NOERROR
from connectivity_check.probes.dns_asked import Asked, Settled

_SEEN = {
    NOERROR: Seen.DNS_NO_ANSWER,
    "NXDOMAIN": Seen.DNS_NXDOMAIN,
    "REFUSED": Seen.DNS_REFUSED,
    "SERVFAIL": Seen.DNS_SERVFAIL,
}

_DOCUMENTATION = tuple(
    ip_network(net)
    for net in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32", "3fff::/20")
)
"""RFC 5737, 3849, 9637."""
_THIS_NETWORK = IPv4Network("0.0.0.0/8")
"""Unspecified in all its forms: filters answer 0.0.0.0 and 0.0.0.1 alike."""


@dataclass(frozen=True, slots=True)
class Result:
    """One look-up, judged: `seen` None when it gave addresses that can be used."""

    seen: Seen | None
    evidence: dict[str, Json]


def is_bogon(address: str) -> bool:
    """Whether no service can be there: unspecified, loopback, link-local, multicast, documentation.

    IPv4 inside IPv6 (::ffff:0:0/96) counts as what is inside.
    """
    ip = ip_address(address)
    if isinstance(ip, IPv6Address):
        ip = ip.ipv4_mapped or ip
    if ip.is_unspecified or ip.is_loopback or ip.is_link_local or ip.is_multicast:
        return True
    return any(ip.version == net.version and ip in net for net in (*_DOCUMENTATION, _THIS_NETWORK))


def seen_of_addresses(addresses: Sequence[str]) -> Seen | None:
    """None when at least one address can be used."""
    return Seen.DNS_BOGON if all(is_bogon(address) for address in addresses) else None


def judge(name: str, a: Asked, aaaa: Asked, *, listened: bool = False) -> Result:
    """Join both families; each must be settled. `listened`: one waited for second answers."""
    assert a.settled is not None
    assert aaaa.settled is not None
    deciding = _deciding(a.settled, aaaa.settled)
    evidence: dict[str, Json] = {"name": name, "transport": "tcp" if a.tcp or aaaa.tcp else "udp"}
    if deciding.server is not None:
        evidence["resolver"] = deciding.server[0]
    if deciding.answer is not None:
        evidence["rcode"] = deciding.answer.rcode
    evidence |= _of_answers(a.settled, aaaa.settled)
    if a.sent or aaaa.sent:
        evidence["sent"] = a.sent + aaaa.sent
    if a.truncated or aaaa.truncated:
        evidence["truncated"] = True
    if listened:
        evidence |= _of_listening(a, aaaa)
    evidence |= _of_trouble(deciding)
    addresses = evidence.get("addresses")
    if isinstance(addresses, list) and addresses:
        return Result(seen_of_addresses([str(address) for address in addresses]), evidence)
    if deciding.answer is None:
        return Result(deciding.trouble.seen, evidence)
    if deciding.answer.truncated and deciding.answer.empty:
        return Result(Seen.TIMEOUT, evidence)  # UDP had not room for it, and TCP gave nothing
    seen = _SEEN.get(deciding.answer.rcode, Seen.OTHER)
    if seen is Seen.OTHER:
        evidence["error"] = f"the resolver answered {deciding.answer.rcode}"
    return Result(seen, evidence)


def _deciding(a: Settled, aaaa: Settled) -> Settled:
    """Which family speaks for the name: A, unless it failed and AAAA has addresses or denies the name."""
    if a.answer is not None and a.answer.rcode == NOERROR:
        gave_nothing = not a.answer.addresses and aaaa.answer is not None and aaaa.answer.addresses
        return aaaa if gave_nothing else a
    known = aaaa.answer is not None and (aaaa.answer.addresses or aaaa.answer.rcode == "NXDOMAIN")
    return aaaa if known else a


def _of_answers(a: Settled, aaaa: Settled) -> dict[str, Json]:
    found = [settled.answer for settled in (a, aaaa) if settled.answer is not None]
    evidence: dict[str, Json] = {}
    if found:
        evidence["addresses"] = list(dict.fromkeys(each for answer in found for each in answer.addresses))
    if cnames := next((answer.cnames for answer in found if answer.cnames), ()):
        evidence["cnames"] = list(cnames)
    if ttls := [answer.ttl for answer in found if answer.ttl is not None]:
        evidence["ttl"] = min(ttls)
    if ede := dict.fromkeys(each for answer in found for each in answer.ede):
        evidence["ede"] = [{"code": code, "text": text} for code, text in ede]
    rcodes = [_rcode(settled) for settled in (a, aaaa)]
    if rcodes[0] != rcodes[1]:
        evidence["rcode4"], evidence["rcode6"] = rcodes
    over = dict.fromkeys((*a.passed_over, *aaaa.passed_over))
    if over:
        evidence["passed_over"] = [{"from": server, "instead": instead} for server, instead in over]
    return evidence


def _rcode(settled: Settled) -> str:
    """A family's rcode; without an answer what came in its place."""
    if settled.answer is not None:
        return settled.answer.rcode
    return "timeout" if settled.trouble.seen is Seen.TIMEOUT else settled.trouble.seen.value


def _of_listening(a: Asked, aaaa: Asked) -> dict[str, Json]:
    evidence: dict[str, Json] = {}
    heard = sorted(
        ((each.after_s, asked.question.kind.name, each) for asked in (a, aaaa) for each in asked.heard_all),
        key=lambda item: item[0],
    )
    evidence["answers"] = [
        {
            "type": kind,
            "from": each.sender,
            "ms": round(after_s * 1000, 1),
            "addresses": list(each.answer.addresses),
            "rcode": each.answer.rcode,
        }
        for after_s, kind, each in heard
    ]
    if wrong := dict.fromkeys((*a.wrong_source, *aaaa.wrong_source)):
        evidence["wrong_source"] = list(wrong)
    return evidence


def _of_trouble(deciding: Settled) -> dict[str, Json]:
    if deciding.answer is not None:
        return {}
    trouble = deciding.trouble
    evidence: dict[str, Json] = {}
    if trouble.errno:
        evidence["errno"] = trouble.errno
    if trouble.icmp is not None:
        evidence["icmp"] = trouble.icmp.evidence
    if trouble.error:
        evidence["error"] = trouble.error
    return evidence
