"""What a resolver said: bytes to values. Nothing here believes more than the message holds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from connectivity_check.probes.dns_plain import Records, RecordSet, read_plain
from connectivity_check.probes.dns_question import Question, QuestionType

if TYPE_CHECKING:
    import dns.message

NOERROR: Final = "NOERROR"

_RESPONSE = 0x80
_OPCODE = 0x78
_TRUNCATED = 0x02
_ERRORS_WITHOUT_QUESTION = frozenset({1, 2, 4, 5})
"""FORMERR, SERVFAIL, NOTIMP, REFUSED: some servers send the bare header with these."""

_IN, _CNAME = 1, 5

_MOST_ADDRESSES = 64
_MOST_LINKS = 16
"""Bounds on what one answer can put into a report; real answers stay far below."""

_MOST_TEXT = 300


class AnswerError(Exception):
    """The bytes are an answer to the question, but cannot be read; the text says why."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One readable answer."""

    rcode: str
    addresses: tuple[str, ...] = ()
    """Those at the end of the CNAME chain that starts at the question; other records do not count."""
    cnames: tuple[str, ...] = ()
    ttl: int | None = None
    """Smallest of the chain and the addresses; None when there are neither."""
    ede: tuple[tuple[int, str], ...] = ()
    truncated: bool = False

    @property
    def empty(self) -> bool:
        """No error and no address."""
        return self.rcode == NOERROR and not self.addresses


def answers(message: bytes, question: Question) -> bool:
    """Whether a message is a response to this question; the id is the caller's business."""
    if len(message) < 12 or not message[2] & _RESPONSE or message[2] & _OPCODE:
        return False
    questions = int.from_bytes(message[4:6], "big")
    if questions == 0:
        return message[3] & 0x0F in _ERRORS_WITHOUT_QUESTION
    return questions == 1 and question.is_repeated_in(message)


def parse_answer(message: bytes, question: Question) -> Answer:
    """Read a message of which `answers` is true.

    Bytes after the message are ignored, as stub resolvers do. A truncated message that breaks off inside a
    record counts as an empty one. Raises AnswerError for anything that does not follow RFC 1035.
    """
    plain = read_plain(message, len(question.section))
    if plain is not None:
        return _answer(*plain, question)
    import dns.exception
    import dns.message
    import dns.rcode

    truncated = bool(message[2] & _TRUNCATED)
    try:
        parsed = dns.message.from_wire(message, ignore_trailing=True)
    except dns.exception.DNSException as error:
        if truncated:
            return Answer(dns.rcode.to_text(dns.rcode.Rcode(message[3] & 0x0F)), truncated=True)
        raise AnswerError(_printable(f"{type(error).__name__}: {error}")) from error
    rcode = dns.rcode.to_text(parsed.rcode())
    found = _answer(rcode, _records(parsed) if parsed.question else {}, question)
    return replace(found, ede=_explanations(parsed), truncated=truncated)


def _answer(rcode: str, records: Records, question: Question) -> Answer:
    """Walk from the question along the CNAMEs to the addresses."""
    name = question.name
    cnames: list[str] = []
    ttls: list[int] = []
    addresses: tuple[str, ...] = ()
    while len(cnames) < _MOST_LINKS:
        found = records.get((name, int(question.kind)))
        if found is not None:
            addresses = found.values[:_MOST_ADDRESSES]
            ttls.append(found.ttl)
            break
        link = records.pop((name, _CNAME), None)  # popped: a circle ends
        if link is None:
            break
        name = link.values[0]
        cnames.append(name)
        ttls.append(link.ttl)
    return Answer(rcode, addresses, tuple(cnames), min(ttls, default=None))


def _records(parsed: dns.message.Message) -> Records:
    """Give what dnspython has read as `dns_plain` would: addresses and CNAMEs of the Internet's class."""
    found: Records = {}
    for rrset in parsed.answer:
        kind = int(rrset.rdtype)
        if rrset.rdclass != _IN or kind not in (_CNAME, *QuestionType):
            continue
        if kind == _CNAME:
            values = tuple(rdata.target.to_text(omit_final_dot=True).lower() for rdata in rrset)
        else:
            values = tuple(rdata.address for rdata in rrset)
        found[rrset.name.to_text(omit_final_dot=True).lower(), kind] = RecordSet(rrset.ttl, values)
    return found


def _explanations(parsed: dns.message.Message) -> tuple[tuple[int, str], ...]:
    """Extended errors (RFC 8914); the text is somebody else's, so only printable characters of it pass."""
    import dns.edns

    return tuple(
        (int(option.code), _printable(option.text or ""))
        for option in parsed.options
        if isinstance(option, dns.edns.EDEOption)
    )


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text[:_MOST_TEXT])
