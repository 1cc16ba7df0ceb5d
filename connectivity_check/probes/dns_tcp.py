"""A question over TCP (RFC 7766): one connection, one question."""

from __future__ import annotations

import asyncio
import random

from connectivity_check.probes.dns_answer import Answer, AnswerError, answers, parse_answer
from connectivity_check.probes.dns_question import Question
from connectivity_check.probes.dns_socket import Server

_MOST_MESSAGES = 8
"""Messages that may come before ours is given up on: a peer that talks without end is no resolver."""

_randomness = random.SystemRandom()


class TcpExchangeError(Exception):
    """The connection came about, but no answer to the question came through it; the text says what did."""


async def ask_over_tcp(question: Question, server: Server, source: str | None, *, edns: bool) -> Answer:
    """Give the answer; waits as long as it takes. Raises OSError of the connection, else TcpExchangeError."""
    local = (source, 0) if source else None
    reader, writer = await asyncio.open_connection(*server, local_addr=local)
    try:
        message_id = _randomness.getrandbits(16)
        query = question.render(message_id, edns=edns)
        writer.write(len(query).to_bytes(2, "big") + query)
        return await _receive(reader, message_id, question)
    except asyncio.IncompleteReadError as error:
        raise TcpExchangeError("the connection was closed before an answer came") from error
    except AnswerError as error:
        raise TcpExchangeError(f"unreadable answer: {error}") from error
    finally:
        writer.transport.abort()


async def _receive(reader: asyncio.StreamReader, message_id: int, question: Question) -> Answer:
    for _ in range(_MOST_MESSAGES):
        length = int.from_bytes(await reader.readexactly(2), "big")
        message = await reader.readexactly(length)
        if message[:2] == message_id.to_bytes(2, "big") and answers(message, question):
            return parse_answer(message, question)
    raise TcpExchangeError("what came is no answer to the question")
