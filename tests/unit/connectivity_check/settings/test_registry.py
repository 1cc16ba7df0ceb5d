"""Registry exports as regedit, reg.exe and people with an editor write them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectivity_check.model import InputError
from connectivity_check.settings.registry import Registry, parse_export, read_export

HEAD = "Windows Registry Editor Version 5.00\r\n\r\n"
KEY = r"HKEY_LOCAL_MACHINE\SOFTWARE\Vendor"


def export(body: str) -> Registry:
    return Registry(parse_export((HEAD + f"[{KEY}]\r\n" + body).encode("utf-8")))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8", "utf-8-sig"])
def test_encodings(encoding: str) -> None:
    data = (HEAD + f'[{KEY}]\r\n"Näme"="wört"\r\n').encode(encoding)
    assert Registry(parse_export(data)).text(r"HKLM\software\vendor", "näME") == "wört"


def test_big_endian_and_the_old_form() -> None:
    data = b"\xfe\xff" + (HEAD + f'[{KEY}]\r\n"a"="b"').encode("utf-16-be")
    assert Registry(parse_export(data)).text(KEY, "a") == "b"
    old = Registry(
        parse_export(f'REGEDIT4\r\n[{KEY}]\r\n"a"=hex(2):62,\\\r\n  00\r\n"w"="\xfc"'.encode("latin-1"))
    )
    assert (old.text(KEY, "a"), old.text(KEY, "w")) == ("b", "\xfc")


def test_kinds_of_values() -> None:
    registry = export(
        '"text"="C:\\\\x \\"quoted\\" [;=]"\r\n"number"=dword:0000001f\r\n@="default"\r\n'
        '"bytes"=hex:46,00,\\\r\n  00,\\\r\n  01\r\n"wide"=hex(2):61,00,62,00,00,00\r\n'
        '"single"=hex(1):61,00\r\n"dword"=hex(4):01,00,00,00\r\n"qword"=hex(b):01,00,00,00,00,00,00,00\r\n"empty"=hex:\r\n'
    )
    assert registry.text(KEY, "text") == 'C:\\x "quoted" [;=]'
    assert registry.number(KEY, "number") == 31
    assert registry.text(KEY, "") == "default"
    assert registry.blob(KEY, "bytes") == b"\x46\x00\x00\x01"
    assert registry.text(KEY, "wide") == "ab"
    assert registry.text(KEY, "single") == "a"
    assert registry.number(KEY, "dword") == 1
    assert registry.blob(KEY, "qword") == b"\x01" + bytes(7)
    assert registry.blob(KEY, "empty") == b""


def test_a_value_of_another_type_is_as_good_as_absent() -> None:
    registry = export('"a"=dword:1\r\n"b"="1"')
    assert registry.text(KEY, "a") == ""
    assert registry.number(KEY, "b") is None
    assert registry.blob(KEY, "a") == b""


def test_deletions_and_comments() -> None:
    registry = export(
        f'; "a"="comment"\r\n"a"="1"\r\n"b"="2"\r\n"b"=-\r\n[{KEY}\\Below]\r\n"c"="3"\r\n[-{KEY}\\Below]\r\n'
    )
    assert registry.text(KEY, "a") == "1"
    assert registry.text(KEY, "b") == ""
    assert registry.text(KEY + "\\Below", "c") == ""
    beside = export(f'"a"="1"\r\n[{KEY}\\Below]\r\n"c"="3"\r\n[{KEY}er]\r\n"d"="4"\r\n[-{KEY}]\r\n')
    assert (beside.text(KEY, "a"), beside.text(KEY + "\\Below", "c"), beside.text(KEY + "er", "d")) == (
        "",
        "",
        "4",
    )


@pytest.mark.parametrize(
    ("data", "place", "reason"),
    [
        (b"", "x.reg:1", "not a registry export"),
        (b"hello", "x.reg:1", "not a registry export"),
        (b"\xff\xfeodd", "x.reg:1", "cut off"),
        (HEAD.encode() + b"\xff\xff", "x.reg:1", "neither UTF-16 nor UTF-8"),
        (HEAD.encode() + b"[HKEY", "x.reg:3", "closing bracket"),
        (HEAD.encode() + b'"a"="b"', "x.reg:3", "neither a key nor a value"),
        (HEAD.encode() + b'[k]\n"a"="b', "x.reg:4", "closing quote"),
        (HEAD.encode() + b'[k]\n"a"=dword:xyz', "x.reg:4", "not a hexadecimal"),
        (HEAD.encode() + b'[k]\n"a"=dword:123456789', "x.reg:4", "not a hexadecimal"),
        (HEAD.encode() + b'[k]\n"a"=hex:1,2,zz', "x.reg:4", "not bytes"),
        (HEAD.encode() + b'[k]\n"a"=hex:100', "x.reg:4", "not bytes"),
        (HEAD.encode() + b'[k]\n"a"=what', "x.reg:4", "unknown form"),
        (HEAD.encode() + b"[k]\nnonsense", "x.reg:4", "neither a key nor a value"),
    ],
)
def test_files_that_are_none(data: bytes, place: str, reason: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_export(data, "x.reg")
    assert caught.value.reason.startswith(place)
    assert reason in caught.value.reason


@given(
    st.binary(max_size=200)
    | st.text(max_size=100).map(lambda t: (HEAD + "[k]\n" + t).encode("utf-8", "replace"))
)
def test_nothing_but_input_errors(data: bytes) -> None:
    reason = ""
    try:
        parse_export(data)
    except InputError as error:
        reason = error.reason
    assert "\n" not in reason


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.reg: cannot be read"):
        read_export(tmp_path / "none.reg")
