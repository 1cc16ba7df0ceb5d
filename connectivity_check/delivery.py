"""Hand a report to the controller: one POST, a deadline, and no second chance.

The token travels in a header, so it is sent by HTTPS only (plain HTTP to this host itself excepted) and never
follows a redirect.
"""

from __future__ import annotations

import threading
from urllib.parse import urlsplit

from connectivity_check.core.ip_text import ip_of
from connectivity_check.model import InputError
from connectivity_check.probes.own_name import user_agent

DEADLINE_S = 15.0
"""For the whole delivery. The report is printed before it starts, so nobody waits for a dead controller."""


def checked_url(url: str) -> str:
    """Give the URL back if a report can be sent there. Raises InputError, which never quotes credentials."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise InputError(f"--report-to is no URL ({error}); write https://HOST[:PORT]/PATH") from None
    if parts.scheme not in ("http", "https") or not host or port == 0 or not url.isprintable() or " " in url:
        raise InputError("--report-to is no URL of a controller; write https://HOST[:PORT]/PATH")
    if parts.username is not None:
        raise InputError("--report-to has credentials in its URL; put the token into ISOLATOR_TOKEN instead")
    if parts.scheme == "http" and not _is_loopback(host):
        raise InputError("--report-to would send the token in clear text; write https://")
    return url


def checked_token(token: str) -> str:
    """Give the token back if it fits into a header ("" does). Raises InputError, which does not quote it."""
    if not (token.isascii() and token.isprintable()) or token != token.strip():
        raise InputError("ISOLATOR_TOKEN holds characters that no token has; is there a line end in it?")
    return token


def deliver(
    document: bytes, url: str, token: str, *, ca_file: str = "", deadline_s: float = DEADLINE_S
) -> str:
    """Send the report; give "" when it was taken, else why not, in a few words. Raises nothing.

    `ca_file` is trusted besides the system's CAs. The environment's proxy is used, as by any other client.
    """
    outcome = [f"no answer in {deadline_s:g} s"]

    def send() -> None:
        outcome[0] = _send(document, url, token, ca_file, deadline_s)

    # A thread that may be left behind: a server that trickles bytes would outlast every socket timeout.
    thread = threading.Thread(target=send, daemon=True, name="deliver")
    thread.start()
    thread.join(deadline_s)
    return outcome[0]


def _send(document: bytes, url: str, token: str, ca_file: str, deadline_s: float) -> str:
    import http.client
    import ssl
    import urllib.error
    import urllib.request

    class _NoRedirect(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_: object) -> None:
            """Follow nowhere: the token is for this controller."""

    headers = {"Content-Type": "application/json", "User-Agent": user_agent()}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    request = urllib.request.Request(url, data=document, headers=headers, method="POST")  # noqa: S310  # checked_url
    try:
        context = ssl.create_default_context()
        if ca_file:
            context.load_verify_locations(cafile=ca_file)
        opener = urllib.request.build_opener(_NoRedirect, urllib.request.HTTPSHandler(context=context))
        with opener.open(request, timeout=deadline_s) as answer:
            answer.read(1)
    except urllib.error.HTTPError as error:
        error.close()
        return f"it answered {error.code}"
    except urllib.error.URLError as error:
        return str(error.reason)
    except (OSError, http.client.HTTPException, ValueError) as error:
        return str(error) or type(error).__name__
    return ""


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    address = ip_of(host)
    return address is not None and address.is_loopback
