"""For which entries a door was learned, as a text that stays beside it in the kernel when the agent ends.

Others than the agent may write to the kernel's sets. So a text counts only where it stands, until the
instants in it, and with a code that takes the key of the isolation. That is in the journal, which root alone
can read.
"""

from __future__ import annotations

import hmac
import struct
from base64 import b64decode
from binascii import b2a_base64
from collections.abc import Container, Iterable, Mapping

from allowlists.model import Entry
from isolator.model.flow import Destination, Transport

MAX_ENTRIES = 8
"""Entries that one text has room for: nft reads comments of up to 127 characters, and this takes 120."""

_CODE_LENGTH = 8
_NAME_LENGTH = 6
_ITEM = struct.Struct(f">{_NAME_LENGTH}sI")
_PORT = struct.Struct(">H")
_HASH = "sha256"
_LATEST = 0xFFFF_FFFF


class PurposeSeal:
    """Writes and reads such texts for one policy; immutable.

    An entry goes by its host and transport: what a number in a list means may change between two agents, and
    which list an entry is in does not change what it opens, except for the lists in `apart`. An entry that
    the policy does not have, or not at the door's port, has nothing open.
    """

    __slots__ = ("_coder", "_entries", "_names")

    def __init__(
        self, key: bytes, boot_id: str, entries: Iterable[Entry], apart: Container[str] = ()
    ) -> None:
        # The instants are of one boot's clock, so a text is nothing to the next one.
        mine = _code(key, f"boot {boot_id}".encode())
        self._coder = hmac.new(mine, digestmod=_HASH)
        self._names: dict[str, bytes] = {}
        self._entries: dict[bytes, list[Entry]] = {}
        for entry in entries:
            apex = "apex" if entry.apex else ""
            kind = entry.list_id if entry.list_id in apart else ""
            text = f"entry {kind} {entry.protocol} {entry.host} {apex}"
            name = _code(mine, text.encode())[:_NAME_LENGTH]
            self._names[entry.id] = name
            self._entries.setdefault(name, []).append(entry)

    def write(self, door: Destination, purposes: Mapping[str, float]) -> str | None:
        """Give the text for a door and the entries, by id, that have it open until an instant.

        None without an entry of the policy. Of too many those stay that are open longest.
        """
        held: dict[bytes, float] = {}
        for entry, until in purposes.items():
            name = self._names.get(entry)
            if name is not None:
                held[name] = max(until, held.get(name, 0.0))
        if not held:
            return None
        if len(held) > MAX_ENTRIES:
            longest = sorted(held, key=held.__getitem__, reverse=True)[:MAX_ENTRIES]
            held = {name: held[name] for name in longest}
        items = b"".join([_ITEM.pack(name, min(int(until), _LATEST)) for name, until in held.items()])
        return b2a_base64(items + self._code_at(door, items), newline=False).decode()

    def read(self, door: Destination, text: str | None) -> dict[str, float] | None:
        """Give the policy's entries that the text at a door names, with the instants, which may be over.

        Empty when the policy has none of them. None when it is no text of this isolation for this door.
        """
        try:
            whole = b64decode(text or "", validate=True)
        except ValueError:
            return None
        items, code = whole[:-_CODE_LENGTH], whole[-_CODE_LENGTH:]
        if not items or len(items) % _ITEM.size or not hmac.compare_digest(code, self._code_at(door, items)):
            return None
        found: dict[str, float] = {}
        for name, until in _ITEM.iter_unpack(items):
            for entry in self._entries.get(name, ()):
                if entry.protocol.value == door.transport.value and door.port in entry.ports:
                    found[entry.id] = float(until)
        return found

    def _code_at(self, door: Destination, items: bytes) -> bytes:
        coder = self._coder.copy()  # half the time of a new one
        transport = b"tcp" if door.transport is Transport.TCP else b"udp"
        coder.update(b"door" + transport + _PORT.pack(door.port) + door.address.packed + items)
        return coder.digest()[:_CODE_LENGTH]


def _code(key: bytes, text: bytes) -> bytes:
    return hmac.digest(key, text, _HASH)


UNSEALED = PurposeSeal(b"", "", ())
"""Knows no entry: writes nothing and believes nothing."""
