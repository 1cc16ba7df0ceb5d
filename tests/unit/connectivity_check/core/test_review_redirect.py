"""A redirect in clear text that leads away: somebody answers in the host's place."""

from __future__ import annotations

from connectivity_check.failure import Failure, Seen, Severity
from connectivity_check.model import BlockerKind, Confidence, Outcome
from tests.unit.connectivity_check.core.cases import (
    PLAIN_TARGET,
    WELL,
    Example,
    answered,
    check,
    examples,
)

URL = "http://go.service.example/fwlink/"
MOVED = {"status": 302, "url": URL, "leads_to": "block.corp.example"}
IN_CLEAR = WELL[:2]

CASES = (
    Example(
        "to a page of its own, which is there already",
        (*IN_CLEAR, answered(Seen.HTTP_STATUS, **MOVED, html=True, title="Stop")),
        Failure.HTTP_BLOCK_PAGE,
        target=PLAIN_TARGET,
        reasons=("with a page titled 'Stop'", "leads to block.corp.example"),
    ),
    Example(
        "to a product one knows",
        (*IN_CLEAR, answered(Seen.HTTP_CONTENT, **MOVED, vendor="Palo Alto Networks")),
        Failure.HTTP_BLOCK_PAGE,
        target=PLAIN_TARGET,
        confidence=Confidence.CERTAIN,
        hint=("Palo Alto Networks",),
    ),
    Example(
        "a redirect away, without a page",
        (*IN_CLEAR, answered(Seen.HTTP_STATUS, **MOVED)),
        Failure.HTTP_BLOCK_PAGE,
        target=PLAIN_TARGET,
        blocker=BlockerKind.FIREWALL,
        confidence=Confidence.LIKELY,
        outcome=Outcome.BLOCKED,
        reasons=(f"{URL} answers 302", "leads to block.corp.example", "not of the host's own domain"),
        hint=("block.corp.example",),
    ),
    Example(
        "inside TLS it is the service's own affair",
        (*WELL[:3], answered(Seen.HTTP_STATUS, **MOVED)),
        Failure.HTTP_STATUS,
        severity=Severity.WARNING,
    ),
    Example(
        "a redirect home is no block page",
        (*IN_CLEAR, answered(Seen.HTTP_STATUS, status=302, url=URL)),
        Failure.HTTP_STATUS,
        target=PLAIN_TARGET,
    ),
)


@examples(CASES)
def test_rows(example: Example) -> None:
    check(example)
