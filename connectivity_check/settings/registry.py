"""Registry values, of this Windows or of a `.reg` export: `Registry` maps (key, value name) to data."""

from __future__ import annotations

import codecs
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from connectivity_check.model import InputError

Data = str | int | bytes
MAX_BYTES = 64 << 20
"""A whole HKLM\\SOFTWARE export is some 200 MB; nobody sends that for a few values."""
_ROOTS = {"hklm": "hkey_local_machine", "hkcu": "hkey_current_user", "hku": "hkey_users"}
_VALUE = re.compile(r'(?:"(?P<name>(?:[^"\\]|\\.)*)"|@)\s*=\s*(?P<data>.*)', re.DOTALL).fullmatch
_HEX = re.compile(r"hex(?:\((?P<kind>[0-9a-fA-F]+)\))?:(?P<bytes>.*)", re.DOTALL).fullmatch
_TEXT_KINDS = (1, 2)
"""REG_SZ, REG_EXPAND_SZ."""


@dataclass(frozen=True, slots=True)
class Registry:
    """What was read; keys and names in lower case, roots spelled out."""

    values: Mapping[tuple[str, str], Data] = field(default_factory=dict)
    source: str = "registry"

    def text(self, key: str, name: str) -> str:
        """Give a text value, "" when it is absent or of another type."""
        data = self.values.get((_key(key), name.lower()))
        return data.strip("\0").strip() if isinstance(data, str) else ""

    def number(self, key: str, name: str) -> int | None:
        """Give a DWORD, None when it is absent or of another type."""
        data = self.values.get((_key(key), name.lower()))
        return data if isinstance(data, int) else None

    def blob(self, key: str, name: str) -> bytes:
        """Give a binary value, empty when it is absent or of another type."""
        data = self.values.get((_key(key), name.lower()))
        return data if isinstance(data, bytes) else b""


def _key(key: str) -> str:
    root, sep, rest = key.lower().strip("\\").partition("\\")
    return _ROOTS.get(root, root) + sep + rest


def read_export(path: Path) -> Registry:
    """Read a `.reg` file. Raises InputError with file, line and reason."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None
    if len(data) > MAX_BYTES:
        raise InputError(f"{path}: larger than 64 MiB; export the keys named in docs/preflight-paths.md only")
    return Registry(parse_export(data, str(path)), str(path))


def parse_export(data: bytes, name: str = "export.reg") -> dict[tuple[str, str], Data]:
    """Read the bytes of a `.reg` file: UTF-16 by its mark, else UTF-8 or the old ANSI form (REGEDIT4).

    A deletion (`[-key]`, `"name"=-`) takes away what stood before. Raises InputError with file, line, reason.
    """
    values: dict[tuple[str, str], Data] = {}
    key = ""
    lines = _logical_lines(_text(data, name))
    number, first = next(lines, (1, ""))
    if first not in ("Windows Registry Editor Version 5.00", "REGEDIT4"):
        raise InputError(f"{name}:{number}: not a registry export: its first line is {first[:40]!a}")
    for number, line in lines:
        if line.startswith("["):
            if not line.endswith("]"):
                raise InputError(f"{name}:{number}: the key has no closing bracket")
            key = _key(line[1:-1].lstrip("-"))
            if line.startswith("[-"):
                values = {k: v for k, v in values.items() if k[0] != key and not k[0].startswith(key + "\\")}
            continue
        match = _VALUE(line)
        if match is None or not key:
            raise InputError(f"{name}:{number}: neither a key nor a value")
        value_name = re.sub(r"\\(.)", r"\1", match["name"] or "").lower()
        values.pop((key, value_name), None)
        if match["data"] != "-":
            values[key, value_name] = _data(match["data"], f"{name}:{number}", first == "REGEDIT4")
    return values


def _text(data: bytes, name: str) -> str:
    try:
        if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return data.decode("utf-16")
        return data.decode("utf-8-sig")
    except UnicodeError:
        if data.startswith(b"REGEDIT4"):
            return data.decode("latin-1")
        raise InputError(f"{name}:1: neither UTF-16 nor UTF-8; was it cut off?") from None


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Give lines that say something, with their number; one that ends in a backslash goes on in the next."""
    pending, start = "", 0
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if not pending:
            start = number
        if pending and line.startswith(";"):
            continue
        # Only hex data is continued; a text may end in a backslash before its quote, never after.
        if line.endswith("\\") and (pending or "=hex" in line):
            pending += line[:-1]
            continue
        line, pending = pending + line, ""
        if line and not line.startswith(";"):
            yield start, line
    if pending:
        yield start, pending


def _data(text: str, place: str, ansi: bool) -> Data:
    if text.startswith('"'):
        if len(text) < 2 or not text.endswith('"'):
            raise InputError(f"{place}: the text has no closing quote")
        return re.sub(r"\\(.)", r"\1", text[1:-1])
    if text.startswith("dword:"):
        if re.fullmatch(r"[0-9a-fA-F]{1,8}", text[6:].strip()) is None:
            raise InputError(f"{place}: the dword is not a hexadecimal number")
        return int(text[6:], 16)
    match = _HEX(text)
    if match is None:
        raise InputError(f"{place}: a value of unknown form")
    try:
        data = bytes(int(item, 16) for item in match["bytes"].replace(" ", "").split(",") if item)
    except ValueError:
        raise InputError(f"{place}: the hex bytes are not bytes") from None
    kind = int(match["kind"] or "3", 16)
    if kind in _TEXT_KINDS:
        return data.decode("latin-1" if ansi else "utf-16-le", "replace").strip("\0")
    if kind == 4 and len(data) == 4:
        return int.from_bytes(data, "little")
    return data


def read_live(wanted: Mapping[str, tuple[str, ...]]) -> Registry:
    """Read values of this Windows: `wanted` maps keys to value names. Empty elsewhere."""
    values: dict[tuple[str, str], Data] = {}
    if sys.platform == "win32":
        import winreg

        roots = {"hklm": winreg.HKEY_LOCAL_MACHINE, "hkcu": winreg.HKEY_CURRENT_USER}
        for key, names in wanted.items():
            root, _, path = key.partition("\\")
            try:
                with winreg.OpenKey(roots[root.lower()], path) as handle:
                    for name in names:
                        try:
                            data, _kind = winreg.QueryValueEx(handle, name)
                        except OSError:
                            continue  # not set
                        if isinstance(data, (str, int, bytes)):
                            values[_key(key), name.lower()] = data
            except OSError:
                continue  # no such key
    return Registry(values)
