"""One HTTP request and what its answer is: of the service, of something in between, or none."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Sequence
from urllib.parse import SplitResult, urlsplit

from connectivity_check.failure import Seen
from connectivity_check.model import Expectation, Json, Kind, Observation, Role, Step
from connectivity_check.ports import Clock, HttpRequest, Stream
from connectivity_check.probes.header_echo import echoed, tampered
from connectivity_check.probes.http_answer import MAX_HEAD, Answer, AnswerError, CutError, read_answer
from connectivity_check.probes.own_name import user_agent
from connectivity_check.probes.page import Page, identify, read_page
from connectivity_check.probes.redirect import leads_away
from connectivity_check.probes.revocation import MAX_LIST, OCSP_TYPE, judge_revocation, ocsp_request
from connectivity_check.probes.stream_error import seen_of

MAX_BODY = 65536
_SLOW_FROM = 16 * 1024
_MAX_VALUE = 300
_REVOCATION = frozenset((Kind.CRL, Kind.OCSP, Kind.CTL))
_KEPT = frozenset(
    (
        "server",
        "via",
        "date",
        "content-type",
        "content-length",
        "location",
        "x-cache",
        "x-squid-error",
        "proxy-status",
        "www-authenticate",
        "proxy-authenticate",
        "x-blocked-by",
        "age",
        "connection",
        "alt-svc",
        "content-range",
    )
)
_KEPT_PARTS = ("block", "filter", "policy", "incident")
_FILTERS_USE = frozenset((403, 451))
"""Statuses that filters use as well; with HTML they are judged by what they show, not by the number."""


class HttpProbe:
    """Does exchanges; one object a run."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._user_agent = user_agent()

    async def exchange(
        self,
        stream: Stream,
        request: HttpRequest,
        expectation: Expectation,
        *,
        budget_s: float,
        role: Role = Role.PROBE,
    ) -> Observation:
        """Send a request and judge the answer; see `ports.Network.exchange`. The stream is left open.

        A redirect is not followed. At most 64 KiB of a body are read, 2 MiB of a revocation list.
        """
        started = self._clock.now()
        revocation = expectation.kind in _REVOCATION
        evidence: dict[str, Json] = {"url": request.url, "method": request.method}
        answer = Answer()
        sent: list[tuple[str, str]] = []
        seen: Seen | None = None
        try:
            sent, body = self._compose(request, expectation)
            evidence["method"] = _method(request, expectation)
            async with asyncio.timeout(budget_s):
                await self._converse(stream, request, expectation, sent, body, answer)
        except (OSError, AnswerError, CutError, ValueError) as error:
            seen = _failed(error, evidence)
        if request.body_size:
            evidence["sent_bytes"] = request.body_size
        page = self._describe(answer, evidence)
        if seen is None:
            if revocation:
                seen = judge_revocation(answer, expectation, page, self._clock.utc(), evidence)
            else:
                seen = _judge(answer, expectation, page, evidence, through_proxy=request.absolute_form)
        if seen is None and request.echo:
            seen = _compare_echo(sent, answer, evidence)
        step = Step.REVOCATION if revocation else Step.HTTP_ROUND_TRIP
        return Observation(step, seen, evidence, self._clock.now() - started, started, role, stream.via)

    def _compose(self, request: HttpRequest, expectation: Expectation) -> tuple[list[tuple[str, str]], bytes]:
        """Give headers and body. Raises ValueError for a URL without a host."""
        url = urlsplit(request.url)
        if not url.hostname:
            raise ValueError("the URL has no host")
        headers = [("Host", _authority(url)), ("User-Agent", self._user_agent), ("Accept", "*/*")]
        headers += [("Accept-Encoding", "identity"), ("Connection", "close")]
        body = bytes(request.body_size)
        if expectation.kind is Kind.OCSP and not request.body_size:
            body = ocsp_request()
            headers.append(("Content-Type", OCSP_TYPE))
        elif body:
            headers.append(("Content-Type", "application/octet-stream"))
        if body or _method(request, expectation) == "POST":
            headers.append(("Content-Length", str(len(body))))
        if request.range:
            headers.append(("Range", request.range))
        proxy = request.proxy
        if request.absolute_form and proxy and proxy.username:
            pair = base64.b64encode(f"{proxy.username}:{proxy.password}".encode()).decode("ascii")
            headers.append(("Proxy-Authorization", f"Basic {pair}"))
        return headers, body

    async def _converse(
        self,
        stream: Stream,
        request: HttpRequest,
        expectation: Expectation,
        headers: Sequence[tuple[str, str]],
        body: bytes,
        answer: Answer,
    ) -> None:
        import h11

        connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD)
        try:
            head = connection.send(
                h11.Request(
                    method=_method(request, expectation), target=_target(request), headers=list(headers)
                )
            )
            payload = connection.send(h11.Data(data=body)) if body else b""
            tail = connection.send(h11.EndOfMessage())
        except h11.LocalProtocolError as error:
            raise ValueError(f"the request cannot be written: {error}") from None
        data = (head or b"") + (payload or b"") + (tail or b"")
        limit = MAX_LIST if expectation.kind in _REVOCATION else MAX_BODY
        # Sent and read at once: a peer that refuses a body answers before it has read all of it. Without a
        # body it all fits into the send buffer, and needs no task.
        sender = asyncio.create_task(_send(stream, data)) if body else None
        unsent = None if sender else await _send(stream, data)
        try:
            await read_answer(stream, connection, answer, limit, self._clock.now)
        except CutError:
            if sender and sender.done():
                unsent = sender.result()
            if unsent is not None:
                raise unsent from None
            raise
        finally:
            if sender:
                sender.cancel()
                await asyncio.gather(sender, return_exceptions=True)

    def _describe(self, answer: Answer, evidence: dict[str, Json]) -> Page:
        headers = {name: answer.header(name)[:_MAX_VALUE] for name, _ in answer.headers}
        content_type = headers.get("content-type", "")
        body = bytes(answer.body)
        if answer.status is None:
            page = read_page(
                bytes(answer.raw), ""
            )  # HTML without a status line, a banner of another protocol
        else:
            page = read_page(body, content_type)
            evidence.update(status=answer.status, reason=answer.reason, http_version=answer.version)
            evidence["headers"] = {name: value for name, value in headers.items() if _kept(name)}
            evidence["content_type"] = content_type
            evidence["length"] = len(body)
            away = leads_away(str(evidence["url"]), answer.status, answer.header("location"))
            if away:
                evidence["leads_to"] = away[:_MAX_VALUE]
        if page.text is not None:
            evidence["title"] = page.title
            evidence["body_start"] = page.start
            evidence["html"] = page.html
        elif answer.status is not None:
            evidence["html"] = False
        vendor, incident = identify(page, headers)
        if vendor:
            evidence["vendor"] = vendor
        if incident:
            evidence["incident"] = incident
        skew = _skew(headers, self._clock.utc())
        if skew is not None:
            evidence["skew_s"] = skew
        if len(body) > _SLOW_FROM and answer.body_from is not None and answer.body_until is not None:
            evidence["slow_bytes_per_s"] = round(len(body) / max(answer.body_until - answer.body_from, 0.001))
        return page


def _judge(
    answer: Answer, expectation: Expectation, page: Page, evidence: dict[str, Json], *, through_proxy: bool
) -> Seen | None:
    """Say whether the answer is one of the service.

    A known block page is one whatever its status. HTML where none is due counts as content when the status
    is a good one or one that filters use; with another status (500, 404) the number says more.
    """
    status = answer.status or 0
    due = not expectation.statuses or status in expectation.statuses
    if status in (407, 511):  # of a proxy (RFC 9110 section 15.5.8), of a network (RFC 6585 section 6)
        return Seen.HTTP_STATUS
    if "vendor" in evidence:
        return Seen.HTTP_CONTENT
    if answer.header("x-squid-error") or "error=" in answer.header("proxy-status"):
        return Seen.HTTP_STATUS  # a proxy speaks for itself (RFC 9209 section 2.1.1), not for the service
    if page.html and not expectation.html_allowed and (due or status < 400 or status in _FILTERS_USE):
        return Seen.HTTP_CONTENT
    if expectation.kind is Kind.PLAIN and status in _FILTERS_USE and status not in expectation.statuses:
        # In clear text nobody vouches for such an answer, with a page or without one.
        return Seen.HTTP_CONTENT if page.html else Seen.HTTP_STATUS
    if expectation.kind is Kind.PLAIN and "leads_to" in evidence and status not in expectation.statuses:
        return Seen.HTTP_STATUS  # whoever sends a plain request away can have read its Host, as portals do
    if through_proxy and status >= 500 and status not in expectation.statuses:
        return Seen.HTTP_STATUS  # "any status" means the service's; this may well be the proxy's
    if not due:
        return Seen.HTTP_STATUS
    if expectation.body_contains and evidence["method"] != "HEAD":
        wanted = expectation.body_contains
        if wanted not in (page.text or "") and wanted.encode() not in answer.body:
            return Seen.HTTP_CONTENT
    return None


def _compare_echo(sent: Sequence[tuple[str, str]], answer: Answer, evidence: dict[str, Json]) -> Seen | None:
    got = echoed(bytes(answer.body))
    if got is None:
        evidence["error"] = "the helper's answer is no echo"
        return Seen.HTTP_CONTENT
    evidence["tampered"] = tampered(sent, got)
    return None


def _failed(error: Exception, evidence: dict[str, Json]) -> Seen:
    if isinstance(error, CutError):
        return Seen.EOF
    if isinstance(error, AnswerError):
        evidence["error"] = error.reason[:_MAX_VALUE]
        return Seen.HTTP_PROTOCOL
    if isinstance(error, OSError):
        seen, facts = seen_of(error)
        evidence.update(facts)
        return seen
    evidence["error"] = str(error)[:_MAX_VALUE]
    return Seen.OTHER


async def _send(stream: Stream, data: bytes) -> OSError | None:
    """Send; an error is given, not raised: an answer may be waiting all the same."""
    try:
        await stream.send(data)
    except OSError as error:
        return error
    return None


def _method(request: HttpRequest, expectation: Expectation) -> str:
    """OCSP asks by POST (RFC 6960 appendix A.1); else as the request says."""
    return "POST" if expectation.kind is Kind.OCSP else request.method


def _target(request: HttpRequest) -> str:
    url = urlsplit(request.url)
    path = url.path or "/"
    relative = f"{path}?{url.query}" if url.query else path
    return f"{url.scheme}://{_authority(url)}{relative}" if request.absolute_form else relative


def _authority(url: SplitResult) -> str:
    """Give host and, unless it is the scheme's own, port; without any credentials that the URL holds."""
    host = url.hostname or ""
    host = f"[{host}]" if ":" in host else host
    default = {"http": 80, "https": 443}.get(url.scheme)
    return host if url.port in (None, default) else f"{host}:{url.port}"


def _kept(name: str) -> bool:
    return name in _KEPT or any(part in name for part in _KEPT_PARTS)


def _skew(headers: dict[str, str], utc: float) -> float | None:
    if "date" not in headers or "age" in headers:
        return None
    from email.utils import parsedate_to_datetime

    try:
        return round(parsedate_to_datetime(headers["date"]).timestamp() - utc, 1)
    except (ValueError, TypeError, OverflowError, OSError):
        return None
