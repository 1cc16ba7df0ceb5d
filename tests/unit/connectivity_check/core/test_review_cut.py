"""How sure one may be that a name is filtered: not, when it is answered at another address."""

from __future__ import annotations

from typing import Any

import pytest

from connectivity_check.failure import Failure, Seen
from connectivity_check.model import Confidence, Observation, Role, Step
from tests.unit.connectivity_check.core.cases import (
    ADDRESS,
    HOST,
    OTHER_ADDRESS,
    OTHER_HOST,
    WELL,
    Example,
    check,
    saw,
)

ENDS = {Seen.CONNECTION_RESET: Failure.TLS_SNI_RESET, Seen.TIMEOUT: Failure.TLS_SNI_DROP}
ANSWERS: dict[str, Any] = {"stage": "finished", "received": 4000}


def shaken(seen: Seen | None, name: str, address: str, role: Role = Role.PROBE) -> Observation:
    """Give a handshake; one that was cut got nothing back."""
    facts = {"received": 0, "stage": "client_hello"} if seen else ANSWERS
    return saw(Step.TLS_HANDSHAKE, seen, role, server_name=name, address=address, **facts)


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize(
    ("there", "confidence", "words"),
    [
        ([None], Confidence.LIKELY, f"the name {HOST} is answered at {OTHER_ADDRESS}"),
        ([Seen.CONNECTION_RESET], Confidence.CERTAIN, f"the name {HOST} is cut at an address"),
        ([Seen.TIMEOUT, None], Confidence.LIKELY, f"the name {HOST} is answered at {OTHER_ADDRESS}"),
        ([], Confidence.CERTAIN, f"answers the server name {OTHER_HOST}"),
    ],
)
def test_a_name_cut_at_one_address(
    end: Seen, there: list[Seen | None], confidence: Confidence, words: str
) -> None:
    """`there`: what became of the same name at an address of another host."""
    row = (
        *WELL[:2],
        shaken(end, HOST, ADDRESS),
        shaken(None, OTHER_HOST, ADDRESS, Role.CONTROL_SNI),
        *(shaken(seen, HOST, OTHER_ADDRESS, Role.GOOD_ADDRESS) for seen in there),
    )
    check(Example("", row, ENDS[end], confidence=confidence, reasons=(words,)))
