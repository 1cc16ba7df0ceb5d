"""One way to write a document as bytes, so that hashes and signatures mean the same everywhere."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def canonical_bytes(document: Mapping[str, Any]) -> bytes:
    """JSON with sorted keys, no spaces, UTF-8. ValueError for NaN and infinities, TypeError for odd types."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8", "strict")
