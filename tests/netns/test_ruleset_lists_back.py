"""What we write is what the kernel lists: golden texts, every kind of rule, and updates between policies."""

from __future__ import annotations

import itertools
import socket
from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from isolator.adapters.nftables import NftablesBackend
from isolator.core import plan
from isolator.core.compiler import EMBEDDED, NETWORKS, SETS
from isolator.core.learned_elements import doors_of
from isolator.model.flow import Network, Transport
from isolator.model.order import IsolationScope
from isolator.model.policy import AllowedNetwork, Direction, Exclusion, Policy
from isolator.model.ruleset import Element, ElementKey, Ruleset
from isolator.render.nft import expected_table
from tests.contract.own_network import add_uplink, nft, own_network
from tests.golden import transactions as golden
from tests.golden.test_nft import DIRECTORY

pytestmark = pytest.mark.netns

_STEPS = ("prepare", "arm")


@pytest.fixture
def backend() -> Iterator[NftablesBackend]:
    with own_network():
        made = NftablesBackend()
        yield made
        made.close()


@pytest.mark.parametrize("name", sorted(path.name for path in DIRECTORY.iterdir()))
def test_nft_and_the_kernel_take_each_golden_text(name: str, tmp_path: Path) -> None:
    stem, _, step = name.removesuffix(".nft").rpartition(".")
    before = ""
    if step == "arm":
        before = (DIRECTORY / f"{stem}.prepare.nft").read_text()
    elif step in ("update", "open_up"):
        before = "".join((DIRECTORY / f"control_by_address_dhcp.{each}.nft").read_text() for each in _STEPS)
        before += "add element inet isolator resolvers4 { 192.0.2.53 }\n"
    script = tmp_path / name
    # Whether the kernel has the queue statement is the backend's business.
    lines = (before + (DIRECTORY / name).read_text()).splitlines(keepends=True)
    script.write_text("".join(line for line in lines if "queue num" not in line))
    with own_network():
        assert nft("-c", "-f", str(script)) == ""


def _may_send(address: str) -> bool:
    """Does a datagram leave for the address? A refused one is told to the sender on its next call."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.bind(("127.0.0.1" if address.startswith("127.") else "192.0.2.10", 0))
        try:
            sender.sendto(b"x", (address, 9))
        except PermissionError:
            return False
    return True


def _put(backend: NftablesBackend, ruleset: Ruleset) -> None:
    backend.apply(plan.prepare(ruleset, golden.opened(golden.OLD_DOOR)))
    backend.apply(plan.arm(ruleset))


def _drift(backend: NftablesBackend, ruleset: Ruleset) -> tuple[str, ...]:
    return plan.drift(backend.observe(), expected_table(ruleset))


@pytest.mark.parametrize("name", golden.POLICIES)
def test_a_policy_lists_back_as_written(backend: NftablesBackend, name: str) -> None:
    ruleset = golden.ruleset(golden.POLICIES[name])
    _put(backend, ruleset)
    assert _drift(backend, ruleset) == ()
    assert _held(backend) == _wanted(ruleset, golden.opened(golden.OLD_DOOR))


def _held(backend: NftablesBackend) -> dict[str, frozenset[ElementKey]]:
    """Keys of every set that is not empty."""
    keys = {name: frozenset(each.key for each in backend.elements(spec)) for name, spec in SETS.items()}
    return {name: found for name, found in keys.items() if found}


def _wanted(ruleset: Ruleset, opened: dict[str, tuple[Element, ...]]) -> dict[str, frozenset[ElementKey]]:
    both = {
        name: frozenset(each.key for each in (*ruleset.contents.get(name, ()), *opened.get(name, ())))
        for name in SETS
    }
    return {name: keys for name, keys in both.items() if keys}


def _exclusion_policy(remotes: list[Network]) -> Policy:
    made = [
        Exclusion(f"x{number}", direction, transport, port, remote, uid=uid)
        for number, (remote, direction, transport, port, uid) in enumerate(
            itertools.product(remotes, Direction, Transport, (None, 1, 65_535), (None, 0, 2**32 - 2))
        )
        if uid is None or direction is Direction.OUT
    ]
    return Policy(IsolationScope.SELECTIVE, (), exclusions=tuple(made))


REMOTES = {
    "IPv4": ["0.0.0.0/0", "10.0.0.0/8", "10.4.0.0/14", "10.9.3.4/32", "255.255.255.255/32", "128.0.0.0/1"],
    "IPv6": ["::/0", "fd00::/8", "2001:db8:1:2::/63", "2001:db8::7/128", "8000::/1"],
    "IPv6 that embeds IPv4": [
        "::1.2.3.4/128",
        "::1/128",
        "::1.2.0.0/112",
        "::fffe:0:0/95",
        "::ffff:0:0/96",
        "::ffff:10.0.0.0/104",
        "64:ff9b::/96",
    ],
}


@pytest.mark.parametrize("kind", REMOTES)
def test_every_kind_of_exclusion_lists_back_as_written(backend: NftablesBackend, kind: str) -> None:
    ruleset = golden.ruleset(_exclusion_policy([ip_network(text) for text in REMOTES[kind]]))
    _put(backend, ruleset)
    assert _drift(backend, ruleset) == ()


def test_every_prefix_length_lists_back_as_written(backend: NftablesBackend) -> None:
    widest4, widest6 = int(ip_address("213.170.85.170")), int(ip_address("2aaa:aaaa:5555::5555:aaaa"))
    remotes: list[Network] = [
        ip_network((widest4 >> (32 - length) << (32 - length), length)) for length in range(1, 33)
    ]
    remotes += [ip_network((widest6 >> (128 - length) << (128 - length), length)) for length in range(1, 129)]
    exclusions = tuple(
        Exclusion(f"x{number}", Direction.OUT, Transport.TCP, 1, remote)
        for number, remote in enumerate(remotes)
    )
    ruleset = golden.ruleset(Policy(IsolationScope.SELECTIVE, (), exclusions=exclusions))
    _put(backend, ruleset)
    assert _drift(backend, ruleset) == ()


def test_overlapping_networks_are_taken(backend: NftablesBackend) -> None:
    texts = ("10.0.0.0/8", "10.1.0.0/16", "10.1.2.3/32", "11.0.0.0/8", "2001:db8::/32", "2001:db8::1/128")
    networks = tuple(AllowedNetwork(ip_network(text), Transport.TCP, 443, "own#1") for text in texts)
    ruleset = golden.ruleset(Policy(IsolationScope.FULL, (), networks=networks))
    _put(backend, ruleset)
    assert _held(backend)[NETWORKS[4]] == {each.key for each in ruleset.contents[NETWORKS[4]]}


@pytest.mark.parametrize(
    ("before", "after"),
    [*itertools.permutations([*golden.POLICIES.values()], 2), (golden.BEFORE, golden.AFTER)],
    ids=lambda policy: next((name for name, each in golden.POLICIES.items() if each is policy), "other"),
)
def test_an_update_leads_from_any_policy_to_any_other(
    backend: NftablesBackend, before: Policy, after: Policy
) -> None:
    old, new = golden.ruleset(before), golden.ruleset(after)
    _put(backend, old)
    backend.apply(
        plan.update(old, new, add=golden.opened(golden.NEW_DOOR), forget=doors_of([golden.OLD_DOOR]))
    )
    assert _drift(backend, new) == ()
    held = _held(backend)
    wanted = _wanted(new, golden.opened(golden.NEW_DOOR))
    # The path-MTU element of a door that was shut stays until it expires.
    wanted[EMBEDDED[4]] = frozenset({golden.OLD_DOOR.address})
    assert held == wanted


def test_an_update_forgets_a_door_that_has_expired_already(backend: NftablesBackend) -> None:
    ruleset = golden.ruleset(golden.BEFORE)
    backend.apply(plan.replace(ruleset, {}))
    backend.apply(plan.update(ruleset, ruleset, forget=doors_of([golden.NEW_DOOR, golden.OLD_DOOR])))
    assert _held(backend) == _wanted(ruleset, {})


def test_an_update_keeps_the_counters(backend: NftablesBackend) -> None:
    ruleset, other = golden.ruleset(golden.BEFORE), golden.ruleset(golden.AFTER)
    _put(backend, ruleset)
    assert _may_send("127.0.0.1")
    before = backend.observe()
    backend.apply(plan.update(ruleset, other))
    after = backend.observe()
    assert before is not None
    assert after is not None
    assert after.counters["loopback"] == before.counters["loopback"] > 0


def test_opened_up_everything_passes_and_removed_nothing_is_left(backend: NftablesBackend) -> None:
    ruleset = golden.ruleset(golden.BARE)
    add_uplink()
    before = nft("list", "ruleset")
    _put(backend, ruleset)
    assert not _may_send("192.0.2.99")
    backend.apply(plan.open_up(ruleset))
    assert _may_send("192.0.2.99")
    backend.apply(plan.remove())
    backend.apply(plan.remove())
    assert nft("list", "ruleset") == before
