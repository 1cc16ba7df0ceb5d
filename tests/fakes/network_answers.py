"""What the fake network shows of certificates and pages, in the words of docs/preflight-evidence.md."""

from __future__ import annotations

from connectivity_check.failure import Seen
from connectivity_check.model import Expectation, Json, Kind
from tests.fakes.network_world import Door, Page, Tls

REVOCATION = (Kind.CRL, Kind.OCSP, Kind.CTL)
TLS_SEEN = {
    Tls.RESET: Seen.CONNECTION_RESET,
    Tls.SILENT: Seen.TIMEOUT,
    Tls.END: Seen.EOF,
    Tls.NOT_TLS: Seen.NOT_TLS,
    Tls.ALERT: Seen.TLS_ALERT,
    Tls.UNTRUSTED: Seen.TLS_UNKNOWN_AUTHORITY,
    Tls.EXPIRED: Seen.TLS_INVALID_CERTIFICATE,
    Tls.WRONG_NAME: Seen.TLS_INVALID_HOSTNAME,
}


def tls_of(door: Door | None, server_name: str) -> Tls:
    """Give what a door does with a ClientHello for this name."""
    if door is None:
        return Tls.END
    if door.gate is not None:
        return door.gate.tls
    return door.tls_of.get(server_name, door.tls)


def certificate(kind: Tls, name: str) -> dict[str, Json]:
    """Give the evidence of a handshake that was finished."""
    good = kind in (Tls.GOOD, Tls.WRONG_NAME, Tls.EXPIRED)
    issuer = "Public CA" if good else "Inspection CA"
    shown = "other.example" if kind is Tls.WRONG_NAME else name
    trusted: Json = True if kind in (Tls.GOOD, Tls.INSPECTED) else "it does not verify"
    leaf: dict[str, Json] = {
        "subject": f"CN={shown}", "issuer": f"CN={issuer}", "common_name": shown,
        "issuer_common_name": issuer, "names": [shown],
    }  # fmt: skip
    return {
        "stage": "finished", "version": "TLSv1.3", "received": 3000, "chain": [leaf],
        "verified_system": trusted, "verified_public": True if kind is Tls.GOOD else "unknown authority",
        "name_matches": kind is not Tls.WRONG_NAME, "expired": kind is Tls.EXPIRED, "not_yet": False,
        "root_common_name": issuer, "root_spki_sha256": issuer.encode().hex(),
    }  # fmt: skip


def judged(page: Page, expectation: Expectation, evidence: dict[str, Json]) -> Seen | None:
    """Judge a page as the real step does, in short."""
    if expectation.kind in REVOCATION:
        evidence |= {"kind": expectation.kind.value, "parsed": page.parsed}
        return None if page.parsed and page.status == 200 else Seen.REVOCATION_CONTENT
    due = not expectation.statuses or page.status in expectation.statuses
    if page.status in (407, 511):
        return Seen.HTTP_STATUS
    if page.html and not expectation.html_allowed and (due or page.status < 400 or page.status in (403, 451)):
        return Seen.HTTP_CONTENT
    if not due:
        return Seen.HTTP_STATUS
    return None if expectation.body_contains in page.body else Seen.HTTP_CONTENT
