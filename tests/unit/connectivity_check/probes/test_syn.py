"""What the end of a connection attempt is called."""

from __future__ import annotations

import errno

import pytest

from connectivity_check.failure import Seen
from connectivity_check.probes.error_queue import IcmpError
from connectivity_check.probes.syn import SynAnswer, errno_name

ADMIN6 = IcmpError("2001:db8::1", 1, 1, 6)
PORT4 = IcmpError("192.0.2.1", 3, 3, 4)


@pytest.mark.parametrize(
    ("answer", "seen", "kind"),
    [
        (SynAnswer(0.1, errno.ECONNREFUSED), Seen.CONNECTION_REFUSED, "rst"),
        (SynAnswer(0.1, errno.ECONNREFUSED, icmp=PORT4), Seen.CONNECTION_REFUSED, "icmp"),
        (SynAnswer(0.1, errno.EACCES, icmp=ADMIN6), Seen.HOST_UNREACHABLE, "icmp"),
        (SynAnswer(0.1, errno.EACCES, instant=True), Seen.PERMISSION_DENIED, "local"),
        (SynAnswer(0.1, errno.EPERM, instant=True), Seen.PERMISSION_DENIED, "local"),
        (SynAnswer(5.0, errno.ETIMEDOUT), Seen.TIMEOUT, "silence"),
        (SynAnswer(5.0, errno.ETIMEDOUT, unsent=True), Seen.PERMISSION_DENIED, "local"),
        (SynAnswer(0.1, errno.ENETUNREACH, instant=True), Seen.NETWORK_UNREACHABLE, "local"),
        (SynAnswer(0.1, errno.EMFILE, instant=True), Seen.OTHER, "local"),
        (SynAnswer(0.1, errno.EPIPE), Seen.OTHER, "local"),
    ],
)
def test_names_of_an_end(answer: SynAnswer, seen: Seen, kind: str) -> None:
    assert answer.seen is seen
    assert answer.kind == kind


def test_symbols_of_error_numbers() -> None:
    assert errno_name(errno.ECONNREFUSED) == "ECONNREFUSED"
    assert errno_name(99999) == "99999"
