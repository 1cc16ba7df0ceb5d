"""A fault of each layer, made for real: the right code, the right row, and no alarm about the others.

A sample of `tests/faults`, which has them all (`make accuracy`): the cases that end within seconds.
"""

from __future__ import annotations

import pytest

from tests.faults import proxies
from tests.faults.catalogue import CASES
from tests.faults.run import run_case

pytestmark = [
    pytest.mark.netns,
    pytest.mark.e2e,
    pytest.mark.skipif(bool(proxies.missing()), reason=f"faults.program_missing: {proxies.missing()}"),
]

SAMPLE = (
    "dns-nxdomain",
    "dns-sinkhole-shared",
    "dns-hosts-file",
    "dns-injected-any",
    "tcp-drop-isp",
    "tcp-reset-isp",
    "tcp-refused-port",
    "tcp-icmp-admin-isp",
    "tcp-local-drop",
    "ip-v6-broken",
    "ip-pmtu-one",
    "proxy-auth-basic",
    "proxy-denied-squid",
    "proxy-port",
    "proxy-dns-tiny",
    "proxy-refused-socks",
    "pac-endless",
    "tls-sni-reset",
    "tls-inspect-one",
    "tls-inspect-trusted-all",
    "tls-inspect-squid",
    "tls-hostname",
    "tls-version-1.1",
    "clock-behind",
    "http-block-page",
    "http-portal",
    "http-body-limit",
    "rev-crl-stale",
    "ok-direct",
    "ok-squid",
    "ok-pac",
    "ok-latency",
    "ok-private-link",
    "ok-tc",
)


@pytest.mark.parametrize("name", SAMPLE)
def test_the_cause_is_named(name: str) -> None:
    result = run_case(name, with_peers=False)
    verdict = result.verdict
    assert verdict is not None, result.broken
    assert verdict.exact, f"wanted {result.case.code}: {verdict}"
    assert verdict.right_outcome, verdict
    assert verdict.right_blocker is not False, verdict
    assert (verdict.false_pass, verdict.false_alarm, verdict.trouble) == ((), (), "")


def test_the_catalogue_is_sound() -> None:
    """Every id once; every case about rows that are in its list; enough of everything."""
    assert len({case.id for case in CASES}) == len(CASES)
    assert len({case.code for case in CASES}) > 50
    assert sum(case.code is None for case in CASES) >= 20
    assert all(case.hits or case.pattern_hit for case in CASES)
    assert set(SAMPLE) <= {case.id for case in CASES}
