"""What a run knows of itself: which rows pass, and what they can be held against."""

from __future__ import annotations

from typing import Any

import pytest

from connectivity_check.core.known import Known, Pass, known, suffix_of
from connectivity_check.failure import Seen
from connectivity_check.model import Kind, Observation, Role, Step, Target
from tests.unit.connectivity_check.core.cases import (
    ADDRESS,
    HOST,
    PLAIN_TARGET,
    PROXIED,
    TARGET,
    VENDOR_ROOT,
    VIA,
    WELL,
    WELL_PROXIED,
    answered,
    connected,
    resolved,
    saw,
    shaken,
    target,
    tunnelled,
)

SILENT = connected(seen=Seen.TIMEOUT)
RETRY_PASSES = connected(role=Role.RETRY)
PASS = Pass(HOST, 443, ADDRESS, "", "vendor.example")
LOCAL_ROOT = "f0" * 32


def of_row(*seen: Observation, row: Target = TARGET) -> Known:
    """Give what a run of one row knows."""
    return known([row], [seen])


@pytest.mark.parametrize(
    ("row", "seen", "expected"),
    [
        pytest.param(TARGET, WELL, PASS, id="all the way"),
        pytest.param(TARGET, WELL[:3], PASS, id="so far well: a control already"),
        pytest.param(TARGET, WELL[:2], None, id="a connection is no pass"),
        pytest.param(TARGET, (), None, id="nothing yet"),
        pytest.param(TARGET, (*WELL[:3], answered(Seen.TIMEOUT)), None, id="silent in the end"),
        pytest.param(TARGET, (*WELL[:2], answered()), None, id="an answer without the handshake that is due"),
        pytest.param(
            TARGET, (*WELL[:2], shaken(Seen.CONNECTION_RESET), shaken(role=Role.RETRY)), None, id="a control"
        ),
        pytest.param(
            PLAIN_TARGET,
            (resolved(ADDRESS), connected(port=80), answered()),
            Pass(HOST, 80, ADDRESS, "", "vendor.example"),
            id="plain: the address it connected to",
        ),
        pytest.param(
            PLAIN_TARGET, (answered(),), Pass(HOST, 80, "", "", "vendor.example"), id="no address is known"
        ),
        pytest.param(
            PLAIN_TARGET,
            (SILENT, connected("20.0.0.2", port=80), answered()),
            Pass(HOST, 80, "20.0.0.2", "", "vendor.example"),
            id="of two addresses the one that accepted",
        ),
        pytest.param(
            PROXIED, WELL_PROXIED, Pass(HOST, 443, "10.0.0.80", VIA, "vendor.example"), id="through a proxy"
        ),
        pytest.param(
            target(None), (tunnelled(role=Role.RANDOM_LABEL), *WELL), None, id="a row without a host is none"
        ),
        pytest.param(
            target(kind=Kind.CRL, port=80),
            (connected(port=80), answered(), saw(Step.REVOCATION, Seen.REVOCATION_CONTENT)),
            None,
            id="an answer that is no list",
        ),
    ],
)
def test_which_rows_pass(row: Target, seen: tuple[Observation, ...], expected: Pass | None) -> None:
    assert of_row(*seen, row=row).passes == ((expected,) if expected else ())


def test_a_run_in_which_nothing_was_seen_knows_nothing() -> None:
    assert known([], []) == Known()
    assert of_row() == Known()
    with pytest.raises(ValueError, match="shorter"):
        known([TARGET], [])


FAR = Pass("www.far.test", 443, "20.0.2.1", "", "far.test")
NEAR = Pass("login.vendor.example", 443, "20.0.2.2", "", "vendor.example")
PLAIN = Pass("crl.far.test", 80, "20.0.2.3", "", "far.test")
PROXIED_PASS = Pass("www.far.test", 443, "10.0.0.80", VIA, "far.test")


@pytest.mark.parametrize(
    ("passes", "row", "via", "expected"),
    [
        pytest.param((), TARGET, "", None, id="nobody passes"),
        pytest.param((NEAR, FAR), TARGET, "", FAR, id="another domain first"),
        pytest.param((NEAR,), TARGET, "", NEAR, id="its own domain when there is no other"),
        pytest.param((PASS,), TARGET, "", None, id="not itself"),
        pytest.param((PLAIN, PROXIED_PASS), TARGET, "", None, id="not another port, not another way"),
        pytest.param((FAR, PROXIED_PASS), PROXIED, VIA, PROXIED_PASS, id="by the same proxy"),
        pytest.param((PLAIN,), PLAIN_TARGET, "", PLAIN, id="the same port"),
        pytest.param((FAR,), target(None), "", FAR, id="for a row without a host"),
    ],
)
def test_the_control_for_a_row(
    passes: tuple[Pass, ...], row: Target, via: str, expected: Pass | None
) -> None:
    assert Known(passes=passes).control_for(row, via) == expected


@pytest.mark.parametrize(
    ("name", "suffix"),
    [
        ("a.b.Vendor.Example.", "vendor.example"),
        ("vendor.example", "vendor.example"),
        ("localhost", "localhost"),
        ("", ""),
    ],
)
def test_the_last_two_labels(name: str, suffix: str) -> None:
    assert suffix_of(name) == suffix


@pytest.mark.parametrize(
    ("skews", "expected"),
    [
        ({}, None),
        ({"a": 4000.0}, None),  # one server may be wrong itself
        ({"a": 300.0, "b": 300.0}, None),  # at the limit, not beyond
        ({"a": 4000.0, "b": 3990.0}, 4000.0),
        ({"a": -4000.0, "b": -3990.0, "c": 1.0}, -3990.0),
        ({"a": 4000.0, "b": 3990.0, "c": 0.0, "d": 1.0}, None),  # half of them say that it is right
        ({"a": 4000.0, "b": 3990.0, "c": 9e9}, 4000.0),  # one that is far off does not count for more
    ],
)
def test_a_clock_is_off_when_most_say_so(skews: dict[str, float], expected: float | None) -> None:
    assert Known(skews=skews).skew_s == expected


def test_skews_are_one_for_each_host() -> None:
    found = of_row(*WELL[:3], answered(skew_s=4000), answered(role=Role.AFTER_FAILURE, skew_s=3990))
    assert found.skews == {HOST: 3990}
    assert found.skew_s is None


def test_names_that_resolve_and_addresses_that_are_alone() -> None:
    rows = [TARGET, target("b.vendor.example"), target("c.other.test"), target("d.more.test")]
    found = known(
        rows,
        [
            (resolved(ADDRESS),),
            (resolved(ADDRESS, role=Role.RETRY), resolved(seen=Seen.DNS_NXDOMAIN)),
            (resolved(ADDRESS),),
            (resolved(ADDRESS, "20.0.0.2"),),
        ],
    )
    assert found.answered_names == {HOST, "c.other.test", "d.more.test"}
    assert found.names_of == {ADDRESS: {"vendor.example", "other.test"}}


@pytest.mark.parametrize(
    ("seen", "connects", "slow"),
    [
        ((connected(),), 1, 0),
        ((connected(syns=2),), 1, 1),
        ((connected(syns=1),), 1, 0),
        ((connected(via=VIA, syns=2),), 0, 0),
        ((SILENT,), 0, 0),
        ((connected(role=Role.RETRY, syns=2),), 0, 0),
    ],
)
def test_connections_and_those_that_came_late(
    seen: tuple[Observation, ...], connects: int, slow: int
) -> None:
    found = of_row(*seen)
    assert (found.connects, found.slow_syns) == (connects, slow)


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        ((SILENT, RETRY_PASSES), 1),
        ((SILENT, connected(seen=Seen.TIMEOUT, role=Role.RETRY)), 0),
        ((SILENT, connected("20.0.0.2"), RETRY_PASSES), 0),
        ((RETRY_PASSES,), 0),
        ((SILENT,), 0),
        ((SILENT, connected(role=Role.RETRY, via=VIA)), 0),
    ],
)
def test_rows_that_accepted_alone_only(seen: tuple[Observation, ...], expected: int) -> None:
    assert of_row(*seen).passed_alone == expected


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        ((*WELL[:3], answered(Seen.TIMEOUT)), 1),
        ((*WELL[:3], answered(Seen.CONNECTION_RESET)), 0),
        ((*WELL[:3], answered(Seen.TIMEOUT), answered()), 0),
        ((*WELL[:3], answered(Seen.TIMEOUT), answered(role=Role.ALTERNATE)), 1),
        (WELL[:3], 0),
        ((shaken(verified_public=False), answered(Seen.TIMEOUT)), 0),
        ((shaken(verified_public="yes"), answered(Seen.TIMEOUT)), 0),
        ((answered(Seen.TIMEOUT),), 0),
    ],
)
def test_rows_that_fell_silent_where_no_filter_reads(seen: tuple[Observation, ...], expected: int) -> None:
    assert of_row(*seen).stopped_inside == expected


@pytest.mark.parametrize(
    ("evidence", "expected"),
    [
        ({"verified_public": False, "root_spki_sha256": LOCAL_ROOT}, {LOCAL_ROOT: {HOST}}),
        ({"verified_public": None, "root_spki_sha256": LOCAL_ROOT}, {LOCAL_ROOT: {HOST}}),
        ({"verified_public": True, "root_spki_sha256": VENDOR_ROOT}, {}),
        ({"verified_public": False, "root_spki_sha256": ""}, {}),
        ({"verified_public": False, "root_spki_sha256": None}, {}),
    ],
)
def test_roots_that_no_public_bundle_holds(evidence: dict[str, Any], expected: dict[str, set[str]]) -> None:
    assert of_row(shaken(**evidence)).foreign_roots == expected


def test_proxies_that_opened_a_tunnel_for_somebody() -> None:
    found = of_row(tunnelled(Seen.PROXY_STATUS), row=PROXIED)
    assert (found.proxies_connected, found.proxies_by_address) == (frozenset(), frozenset())
    found = of_row(tunnelled(role=Role.CONTROL_NAME), row=PROXIED)
    assert (found.proxies_connected, found.proxies_by_address) == ({VIA}, frozenset())
    found = of_row(tunnelled(role=Role.GOOD_ADDRESS), row=PROXIED)
    assert (found.proxies_connected, found.proxies_by_address) == ({VIA}, {VIA})


def test_controls_of_the_whole_run_by_role() -> None:
    portal, nowhere = answered(role=Role.PORTAL), connected("192.0.2.1", role=Role.UNROUTABLE)
    found = known([], [], iter([portal, nowhere]))
    assert found.shared_of(Role.PORTAL) == (portal,)
    assert found.shared_of(Role.UNROUTABLE) == (nowhere,)
    assert found.shared_of(Role.HOPS) == ()
