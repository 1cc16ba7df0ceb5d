"""The controller's private keys, as files of its state directory; none is in the database.

`root.key` signs which order keys are good and belongs off the host (`isolator-api keys`); `order.key` signs
orders, answers and audit heads; `token.key` signs access tokens.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from api.core.instant import parse_instant, render_instant
from isolator.core.signed import (
    decode_envelope,
    encode_envelope,
    key_id_of,
    open_envelope,
    public_bytes,
    seal,
)
from isolator.model.signed import Envelope, Kind, Refused

KEYS_LAST = timedelta(days=3 * 365)
"""How long a signed set of order keys is good; `keys rotate` makes a new one."""

VERSION_S = 60
"""Versions of the set of order keys are minutes since 1970: they rise, whatever was restored."""
_PRIVATE = 0o600
_RETIRED = "retired.json"


class KeysError(Exception):
    """The key files cannot be used; one sentence for a person."""


@dataclass(frozen=True, slots=True)
class RetiredKey:
    """An order key that is no longer good, kept to verify what it signed before `at`."""

    public: bytes
    at: datetime


@dataclass(frozen=True, slots=True)
class KeyRing:
    """The keys in use."""

    order: Ed25519PrivateKey
    root_public: bytes
    keyset: Envelope
    token: ec.EllipticCurvePrivateKey
    retired: Mapping[str, RetiredKey] = field(default_factory=dict)
    """Order keys that were good once, by id: nothing is signed with them, and nobody obeys them."""

    @property
    def order_key_id(self) -> str:
        """The id under which agents know the order key."""
        return key_id_of(public_bytes(self.order))

    @property
    def order_keys(self) -> dict[str, bytes]:
        """The order keys that the root vouches for, by id."""
        publics = [_unbase64(each["public"]) for each in self._document["keys"]]
        return {key_id_of(each): each for each in publics}

    @property
    def expires_at(self) -> datetime:
        """Until when agents obey these keys."""
        return parse_instant(self._document["expires_at"])

    @property
    def _document(self) -> dict[str, Any]:
        return open_envelope(self.keyset, Kind.KEYS, {key_id_of(self.root_public): self.root_public})

    def seal(self, kind: Kind, document: dict[str, Any]) -> Envelope:
        """Sign a document with the order key."""
        return seal(kind, document, self.order)


def create_keys(directory: Path, now: datetime) -> KeyRing:
    """Make root, order and token key where there are none, and load them. KeysError when the disk refuses."""
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not (directory / "order.key").exists():
            root, order = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
            _write(directory / "root.key", _pem(root))
            _write(directory / "root.pub", _base64(public_bytes(root)).encode(), 0o644)
            _write(directory / "keys.json", _keyset(root, [order], 1, now), 0o644)
            _write(directory / "token.key", _pem(ec.generate_private_key(ec.SECP256R1())))
            # Last: its presence says that all the others are there.
            _write(directory / "order.key", _pem(order))
    except OSError as error:
        raise KeysError(f"keys cannot be written to {directory}: {error.strerror}") from None
    return load_keys(directory)


def load_keys(directory: Path) -> KeyRing:
    """The keys of a state directory. KeysError when one is missing, unreadable or not vouched for."""
    try:
        order = serialization.load_pem_private_key((directory / "order.key").read_bytes(), None)
        token = serialization.load_pem_private_key((directory / "token.key").read_bytes(), None)
        root_public = _unbase64((directory / "root.pub").read_text())
        keyset = decode_envelope(json.loads((directory / "keys.json").read_bytes()))
    except OSError as error:
        raise KeysError(f"{error.filename} cannot be read: {error.strerror}") from None
    except (ValueError, TypeError, Refused) as error:
        raise KeysError(f"a key file in {directory} is damaged: {error}") from None
    if not isinstance(order, Ed25519PrivateKey) or not isinstance(token, ec.EllipticCurvePrivateKey):
        raise KeysError(f"a key file in {directory} holds another kind of key")
    ring = KeyRing(order, root_public, keyset, token, _retired(directory))
    try:
        known = ring.order_keys
    except Refused as error:
        raise KeysError(f"keys.json in {directory} is not signed by the root: {error.sentence}") from None
    if ring.order_key_id not in known:
        raise KeysError(
            "the order key is not in the set that the root signed; run `isolator-api keys rotate`"
        )
    return ring


def rotate_order_key(directory: Path, root_file: Path, now: datetime, *, retire: bool = False) -> KeyRing:
    """A new order key, vouched for by the root beside the present one (`retire`: in its place)."""
    try:
        root = serialization.load_pem_private_key(root_file.read_bytes(), None)
    except OSError as error:
        raise KeysError(f"{root_file} cannot be read: {error.strerror}") from None
    except (ValueError, TypeError):
        raise KeysError(f"{root_file} holds no private key") from None
    present = load_keys(directory)
    if not isinstance(root, Ed25519PrivateKey) or public_bytes(root) != present.root_public:
        raise KeysError(f"{root_file} is not the root key of this controller")
    document = open_envelope(present.keyset, Kind.KEYS, {key_id_of(present.root_public): present.root_public})
    order = Ed25519PrivateKey.generate()
    # By the clock: after an older directory was restored, the version must be higher than any that agents
    # were given since, and nobody knows that one.
    version = max(int(document["version"]) + 1, int(now.timestamp()) // VERSION_S)
    both = [order, present.order]
    kept = {key_id_of(public_bytes(each)) for each in both[: 1 if retire else 2]}
    leaving = {name: public for name, public in present.order_keys.items() if name not in kept}
    # In this order, so that a crash between two of them leaves keys that work: the present key stays in the
    # set until the new one is in its place, and one that leaves the set is noted before.
    _write(directory / _RETIRED, _retired_file(present.retired, leaving, now), 0o644)
    _write(directory / "keys.json", _keyset(root, both, version, now), 0o644)
    _write(directory / "order.key", _pem(order))
    if retire:
        _write(directory / "keys.json", _keyset(root, [order], version + 1, now), 0o644)
    return load_keys(directory)


def _retired(directory: Path) -> dict[str, RetiredKey]:
    """The keys that were good once, by key id; none when no key was ever retired."""
    try:
        document = json.loads((directory / _RETIRED).read_bytes())
        found = [
            RetiredKey(_unbase64(each["public"]), parse_instant(each["at"])) for each in document["keys"]
        ]
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise KeysError(f"{directory / _RETIRED} cannot be read: {error.strerror}") from None
    except (ValueError, TypeError, KeyError, AttributeError):
        raise KeysError(f"{directory / _RETIRED} is damaged") from None
    return {key_id_of(each.public): each for each in found}


def _retired_file(before: Mapping[str, RetiredKey], leaving: Mapping[str, bytes], now: datetime) -> bytes:
    keys = {**before, **{name: RetiredKey(public, now) for name, public in leaving.items()}}.values()
    rows = [{"public": _base64(each.public), "at": render_instant(each.at)} for each in keys]
    return json.dumps({"keys": rows}, indent=1).encode()


def _keyset(root: Ed25519PrivateKey, keys: list[Ed25519PrivateKey], version: int, now: datetime) -> bytes:
    document = {
        "version": version,
        "keys": [{"public": _base64(public_bytes(each))} for each in keys],
        "expires_at": render_instant(now + KEYS_LAST),
    }
    return json.dumps(encode_envelope(seal(Kind.KEYS, document, root)), indent=1).encode()


def _pem(key: Ed25519PrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write(path: Path, content: bytes, mode: int = _PRIVATE) -> None:
    """Replace a file whole: it is never half there, and never readable by others for a moment."""
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    fresh.rename(path)


def _base64(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def _unbase64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text.strip() + "=" * (-len(text.strip()) % 4))
