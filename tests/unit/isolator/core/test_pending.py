"""Queries that wait for their answers."""

from __future__ import annotations

import pytest

from isolator.core.pending import PendingLimits, PendingQueries
from isolator.model.dns import Question
from tests.corpus.dns.sound import incoming, outgoing

Q = Question("www.test", 1, 1, b"\x03www\x04test\0\0\1\0\1")
NOW = 1_000.0


def remember(
    table: PendingQueries, *, id_: int = 1, port: int = 1, exact: bool = True, now: float = NOW
) -> bool:
    return table.remember(outgoing(b"", port=port), id_, Q, exact=exact, now=now)


def take(table: PendingQueries, *, id_: int = 1, port: int = 1, now: float = NOW) -> bool:
    return table.take(incoming(b"", port=port), id_, Q, now=now)


def test_an_answer_counts_once() -> None:
    table = PendingQueries()
    assert remember(table)
    assert take(table)
    assert not take(table)
    assert len(table) == 0


def test_the_same_query_again_is_a_refresh() -> None:
    table = PendingQueries()
    remember(table)
    assert remember(table, now=NOW + 6)
    assert len(table) == 1
    assert take(table, now=NOW + 15)


@pytest.mark.parametrize(("later", "believed"), [(9.9, True), (10.0, True), (10.1, False)])
def test_a_deadline(later: float, believed: bool) -> None:
    table = PendingQueries()
    remember(table)
    assert take(table, now=NOW + later) is believed


@pytest.mark.parametrize(
    "limits", [PendingLimits(total=2), PendingLimits(per_socket=2)], ids=["in all", "of one socket"]
)
def test_full_refuses_the_new_and_keeps_the_old(limits: PendingLimits) -> None:
    table = PendingQueries(limits)
    assert remember(table, id_=1)
    assert remember(table, id_=2)
    assert not remember(table, id_=3)
    assert take(table, id_=1)
    assert remember(table, id_=3)
    assert take(table, id_=2)
    assert take(table, id_=3)


def test_another_socket_has_room_of_its_own() -> None:
    table = PendingQueries(PendingLimits(per_socket=1))
    assert remember(table, port=1)
    assert not remember(table, port=1, id_=2)
    assert remember(table, port=2)


def test_a_refresh_takes_no_room() -> None:
    table = PendingQueries(PendingLimits(total=1, wildcard=1, per_socket=1))
    assert remember(table, exact=False)
    assert remember(table, exact=False)
    assert take(table)
    assert not table._sockets


def test_made_up_names_leave_room_for_listed_ones() -> None:
    table = PendingQueries(PendingLimits(total=4, wildcard=3))
    assert [remember(table, id_=n, exact=False) for n in range(5)] == [True] * 3 + [False] * 2
    assert remember(table, id_=9)
    assert not remember(table, id_=10)
    assert take(table, id_=0)
    assert remember(table, id_=11, exact=False)


def test_expiry_frees_every_kind_of_room() -> None:
    table = PendingQueries(PendingLimits(total=2, wildcard=1, per_socket=2))
    remember(table, id_=1, exact=False)
    remember(table, id_=2, now=NOW + 5)
    table.expire(NOW + 10.5)
    assert len(table) == 1
    assert remember(table, id_=3, exact=False, now=NOW + 10.5)
    table.expire(NOW + 100)
    assert len(table) == 0
    assert not table._sockets
    table.expire(NOW + 101)


class TestCase:
    MIXED = Question("www.test", 1, 1, b"\x03wWw\x04test\0\0\1\0\1")
    UPPER = Question("www.test", 1, 1, b"\x03WWW\x04TEST\0\0\1\0\1")

    @pytest.mark.parametrize(
        ("asked", "answered", "believed"),
        [
            (MIXED, MIXED, True),
            (MIXED, Q, False),
            (MIXED, UPPER, False),
            (Q, MIXED, True),
            (UPPER, Q, True),
        ],
    )
    def test_the_letters_case_is_a_nonce_where_it_is_mixed(
        self, asked: Question, answered: Question, believed: bool
    ) -> None:
        table = PendingQueries()
        table.remember(outgoing(b""), 1, asked, exact=True, now=NOW)
        assert table.take(incoming(b""), 1, answered, now=NOW) is believed

    def test_a_wrong_guess_leaves_the_query_waiting(self) -> None:
        table = PendingQueries()
        table.remember(outgoing(b""), 1, self.MIXED, exact=True, now=NOW)
        assert not table.take(incoming(b""), 1, Q, now=NOW)
        assert table.take(incoming(b""), 1, self.MIXED, now=NOW)

    def test_another_class_is_another_question(self) -> None:
        table = PendingQueries()
        table.remember(outgoing(b""), 1, Q, exact=True, now=NOW)
        chaos = Question("www.test", 1, 3, Q.raw[:-1] + b"\3")
        assert not table.take(incoming(b""), 1, chaos, now=NOW)
