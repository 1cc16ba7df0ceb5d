"""Names on the wire, and the work that reading them may cost."""

from __future__ import annotations

import dns.name
import pytest

from isolator.wire.dns_message import parse_dns
from isolator.wire.dns_name import NameReader, render_name
from isolator.wire.parse_error import ParseError, Unreadable
from tests.corpus.dns.hostile import pointer_chain, pointer_fan


def text(wire: bytes) -> str:
    name, end = NameReader(wire).read(0)
    assert end == len(wire)
    return name


@pytest.mark.parametrize(
    ("wire", "expected"),
    [
        (b"\0", ""),
        (b"\x03www\x04test\0", "www.test"),
        (b"\x03WwW\x04tEsT\0", "www.test"),
        (b"\x04_dns\x04a-b1\0", "_dns.a-b1"),
        # A dot inside a label must not look like two labels, nor any other octet like text.
        (b"\x03a.b\x04test\0", "a\\046b.test"),
        (b"\x04a\\.b\0", "a\\092\\046b"),
        (b"\x02a\0\x01b\0", "a\\000.b"),
        (b"\x02\xc3\xa9\0", "\\195\\169"),
        (b"\x01*\x04test\0", "\\042.test"),
        (b"\x3f" + b"a" * 63 + b"\0", "a" * 63),
    ],
)
def test_text(wire: bytes, expected: str) -> None:
    assert text(wire) == expected


def test_every_octet_has_a_text_of_its_own() -> None:
    texts = {text(bytes((1, octet, 0))) for octet in range(256)}
    assert len(texts) == 256 - 26


def test_a_name_of_255_octets_is_the_longest() -> None:
    wire = (b"\x3f" + b"a" * 63) * 3 + b"\x3d" + b"b" * 61 + b"\0"
    assert len(wire) == 255
    assert len(text(wire)) == 253


def test_compressed_names() -> None:
    data = bytes(12) + b"\x03www\x04test\0" + b"\x04mail\xc0\x10" + b"\xc0\x16" + b"\xc0\x0c"
    names = NameReader(data)
    assert names.read(12) == ("www.test", 22)
    assert names.read(22) == ("mail.test", 29)
    assert names.read(29) == ("mail.test", 31)
    assert names.read(31) == ("www.test", 33)


def test_a_pointer_into_the_middle_of_a_name_that_was_not_read_before() -> None:
    data = bytes(12) + b"\x03www\x04test\0" + b"\xc0\x10"
    assert NameReader(data).read(22) == ("test", 24)


class TestWork:
    def test_a_chain_of_pointers_is_read_once(self) -> None:
        data = pointer_chain(2_000)
        message = parse_dns(data)
        assert message.answers[1].owner == "www.test"

    def test_reading_again_costs_one_step(self) -> None:
        data = bytes(12) + b"\x01a" * 100 + b"\0" + b"\xc0\x0c" * 2
        names = NameReader(data)
        names.read(12)
        before = names.steps_left
        names.read(213)
        names.read(215)
        assert before - names.steps_left == 2

    @pytest.mark.parametrize("records", [400, 4_000])
    def test_a_fan_of_pointers_into_long_names_ends_within_the_bound(self, records: int) -> None:
        data = pointer_fan(1_200, records)
        assert 128 + len(data) < 60 * records, "else the bound would not be met"
        with pytest.raises(ParseError) as caught:
            parse_dns(data)
        assert caught.value.kind is Unreadable.DNS_NAME_WORK

    def test_each_label_costs_a_step(self) -> None:
        names = NameReader(bytes(12) + b"\x01a" * 10 + b"\0")
        before = names.steps_left
        names.read(12)
        assert before - names.steps_left == 11


class TestRender:
    @pytest.mark.parametrize("name", ["", ".", "test", "www.test.", "WwW.Test", "a" * 63 + ".b", "_x.y-z"])
    def test_as_dnspython(self, name: str) -> None:
        assert render_name(name) == dns.name.from_text(name or ".").to_wire()

    @pytest.mark.parametrize("name", ["a..b", ".a", "a..", "a" * 64, ".".join(["a" * 63] * 4), "é.test"])
    def test_what_is_no_name(self, name: str) -> None:
        with pytest.raises(ValueError):  # three messages, one for each fault
            render_name(name)
