"""Reading one HTTP answer from a stream, with limits, however odd it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from connectivity_check.ports import Stream

if TYPE_CHECKING:
    import h11

MAX_HEAD = 65536
"""Bytes of status line and headers; servers stop at 8 to 64 KiB."""
MAX_INTERIM = 20
"""Interim (1xx) answers before we give up."""
KEPT_RAW = 4096


class AnswerError(Exception):
    """What came is no HTTP answer; `reason` is one sentence in the words of the parser."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class CutError(Exception):
    """The connection was closed in an orderly way before the answer was complete."""


@dataclass(slots=True)
class Answer:
    """An answer as far as it has come; reading fills it in, so that a failure leaves what there is."""

    status: int | None = None
    reason: str = ""
    version: str = ""
    headers: list[tuple[str, str]] = field(default_factory=list)
    """Names in lower case, in the order received."""
    body: bytearray = field(default_factory=bytearray)
    complete: bool = False
    """The end was read; False when we stopped at the limit."""
    raw: bytearray = field(default_factory=bytearray)
    """The first bytes as they came."""
    first_byte_at: float | None = None
    body_from: float | None = None
    body_until: float | None = None

    def header(self, name: str) -> str:
        """Give a header's value, several of a name joined as RFC 9110 section 5.3 has it; "" without."""
        return ", ".join(value for key, value in self.headers if key == name)


async def read_answer(
    stream: Stream, connection: h11.Connection, answer: Answer, limit: int, now: Callable[[], float]
) -> None:
    """Read into `answer` until the end, or until `limit` bytes of body are there.

    Raises AnswerError, CutError, and OSError as the stream does.
    """
    import h11

    interim = 0
    while True:
        try:
            event = connection.next_event()
        except h11.RemoteProtocolError as error:
            ended = answer.raw and connection.trailing_data[1]
            if ended and answer.status is not None:
                raise CutError from None
            raise AnswerError(str(error)) from None
        if event is h11.NEED_DATA:
            data = await stream.receive()
            if not data and not answer.raw:
                raise CutError
            _note(answer, data, now())
            connection.receive_data(data)
        elif isinstance(event, h11.InformationalResponse):
            interim += 1
            if interim > MAX_INTERIM:
                raise AnswerError("interim answers without end")
        elif isinstance(event, h11.Response):
            _head(answer, event)
        elif isinstance(event, h11.Data):
            _body(answer, bytes(event.data), limit, now())
            if len(answer.body) >= limit:
                return
        else:
            answer.complete = isinstance(event, h11.EndOfMessage)
            if answer.status is None:
                raise AnswerError("it ends, or switches to another protocol, without an answer")
            return


def _note(answer: Answer, data: bytes, at: float) -> None:
    if data and answer.first_byte_at is None:
        answer.first_byte_at = at
    answer.raw += data[: KEPT_RAW - len(answer.raw)] if len(answer.raw) < KEPT_RAW else b""


def _head(answer: Answer, event: h11.Response) -> None:
    answer.status = event.status_code
    answer.reason = event.reason.decode("latin-1")[:100]
    answer.version = event.http_version.decode("ascii")
    answer.headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in event.headers]


def _body(answer: Answer, data: bytes, limit: int, at: float) -> None:
    if answer.body_from is None:
        answer.body_from = at
    answer.body_until = at
    answer.body += data[: limit - len(answer.body)]
