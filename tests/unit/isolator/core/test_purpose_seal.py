"""What stands beside a learned element: it comes back as it was, or it is nothing."""

from __future__ import annotations

from base64 import b64decode, b64encode
from dataclasses import replace
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allowlists.model import Entry, Match, Protocol
from isolator.core.purpose_seal import MAX_ENTRIES, UNSEALED, PurposeSeal
from isolator.model.flow import Destination, Transport

KEY, BOOT = b"k" * 16, "boot-1"
WILD = Entry(2, "*.wild.test", "*.wild.test", Match.SUBDOMAINS, list_id="l")
EXACT = Entry(1, "www.listed.test", "www.listed.test", extra_ports=(8443,), list_id="l")
SYSLOG = Entry(3, "log.test", "log.test", port=514, protocol=Protocol.UDP, list_id="l")
ENTRIES = (EXACT, WILD, SYSLOG)
SEAL = PurposeSeal(KEY, BOOT, ENTRIES)
DOOR = Destination(ip_address("20.1.2.3"), Transport.TCP, 443)
DOOR6 = Destination(ip_address("2603:1061::1"), Transport.TCP, 443)
HELD = {"l#1": 1_300.7, "l#2": 90_000.0}


def written(seal: PurposeSeal = SEAL, door: Destination = DOOR) -> str:
    text = seal.write(door, HELD)
    assert text is not None
    return text


@pytest.mark.parametrize("door", [DOOR, DOOR6])
def test_entries_come_back_with_their_whole_seconds(door: Destination) -> None:
    assert SEAL.read(door, written(door=door)) == {"l#1": 1_300.0, "l#2": 90_000.0}


def test_an_agent_after_reads_what_the_one_before_wrote() -> None:
    assert PurposeSeal(KEY, BOOT, ENTRIES).read(DOOR, written()) == SEAL.read(DOOR, written())


@pytest.mark.parametrize(
    "door",
    [
        replace(DOOR, address=ip_address("20.1.2.4")),
        replace(DOOR, port=8443),
        replace(DOOR, transport=Transport.UDP),
        DOOR6,
    ],
    ids=str,
)
def test_it_counts_where_it_stands_only(door: Destination) -> None:
    assert SEAL.read(door, written()) is None


@pytest.mark.parametrize("seal", [PurposeSeal(b"other", BOOT, ENTRIES), PurposeSeal(KEY, "boot-2", ENTRIES)])
def test_of_another_isolation_or_boot_it_is_nothing(seal: PurposeSeal) -> None:
    assert seal.read(DOOR, written()) is None


@pytest.mark.parametrize(
    "text", [None, "", "AAAA", "no", "*", "ä" * 24, "A" * 24, "A" * 36, "=" * 24, written()[:-1]]
)
def test_what_is_damaged_is_nothing(text: str | None) -> None:
    assert SEAL.read(DOOR, text) is None
    assert UNSEALED.read(DOOR, text) is None


@given(st.data())
def test_no_changed_letter_is_believed(data: st.DataObject) -> None:
    raw = bytearray(b64decode(written()))
    place = data.draw(st.integers(0, len(raw) - 1))
    raw[place] ^= data.draw(st.integers(1, 255))
    assert SEAL.read(DOOR, b64encode(raw).decode()) is None


@given(st.text() | st.binary().map(lambda raw: b64encode(raw).decode()))
def test_whatever_somebody_writes_there_nothing_is_raised(text: str) -> None:
    assert SEAL.read(DOOR, text) is None
    UNSEALED.read(DOOR, text)


class TestAnotherPolicy:
    """An entry is known by what it says, not by its number."""

    def test_a_number_that_means_something_else_now_is_not_the_entry(self) -> None:
        moved = (replace(WILD, n=1), replace(EXACT, n=2))
        assert PurposeSeal(KEY, BOOT, moved).read(DOOR, written()) == {"l#1": 90_000.0, "l#2": 1_300.0}

    @pytest.mark.parametrize(
        "changed",
        [
            replace(WILD, host="*.other.test"),
            replace(WILD, apex=True),
            replace(WILD, protocol=Protocol.UDP),
            replace(WILD, port=8443),
            replace(WILD, list_id="apart"),
        ],
    )
    def test_one_that_says_something_else_is_another(self, changed: Entry) -> None:
        seal = PurposeSeal(KEY, BOOT, (EXACT, changed), ("apart",))
        assert seal.read(DOOR, written()) == {"l#1": 1_300.0}

    def test_one_that_is_in_another_list_is_the_same(self) -> None:
        moved = replace(WILD, list_id="m", n=7)
        assert PurposeSeal(KEY, BOOT, (moved,), ("apart",)).read(DOOR, written()) == {"m#7": 90_000.0}

    def test_one_that_has_gone_opens_nothing(self) -> None:
        assert PurposeSeal(KEY, BOOT, (SYSLOG,)).read(DOOR, written()) == {}

    def test_rows_that_say_the_same_are_one(self) -> None:
        twice = PurposeSeal(KEY, BOOT, (*ENTRIES, replace(WILD, n=9, path="/x/*")))
        assert twice.read(DOOR, written()) == {"l#1": 1_300.0, "l#2": 90_000.0, "l#9": 90_000.0}
        text = twice.write(DOOR, {"l#2": 100.0, "l#9": 300.0})
        assert text is not None
        assert len(text) == 24
        assert twice.read(DOOR, text) == {"l#2": 300.0, "l#9": 300.0}


class TestWriting:
    def test_nothing_for_no_entry_of_the_policy(self) -> None:
        assert SEAL.write(DOOR, {}) is None
        assert SEAL.write(DOOR, {"l#77": 1_000.0}) is None
        assert UNSEALED.write(DOOR, HELD) is None

    def test_nft_takes_it_however_many_there_are_and_the_longest_stay(self) -> None:
        many = [replace(WILD, n=n, host=f"*.w{n}.test") for n in range(1, MAX_ENTRIES + 4)]
        seal = PurposeSeal(KEY, BOOT, many)
        text = seal.write(DOOR, {each.id: 1_000.0 + each.n for each in many})
        assert text is not None
        assert len(text) < 128
        assert '"' not in text
        found = seal.read(DOOR, text)
        assert found is not None
        assert set(found) == {f"l#{n}" for n in range(4, MAX_ENTRIES + 4)}

    def test_an_instant_beyond_all_clocks(self) -> None:
        text = SEAL.write(DOOR, {"l#1": 1e300})
        assert SEAL.read(DOOR, text) == {"l#1": float(0xFFFF_FFFF)}

    def test_datagrams_too(self) -> None:
        door = replace(DOOR, transport=Transport.UDP, port=514)
        assert SEAL.read(door, SEAL.write(door, {"l#3": 5.0})) == {"l#3": 5.0}
