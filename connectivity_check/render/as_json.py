"""A report as JSON, schema 1."""

from __future__ import annotations

import json
import math
from json.encoder import encode_basestring
from typing import Any

from connectivity_check.core.document import report_document
from connectivity_check.model import Report

_LITERALS = {None: "null", True: "true", False: "false"}
# allow_nan=False: the document has none; JSON readers elsewhere would refuse it.
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode


def render_json(report: Report) -> str:
    """Give the document, indented, with a line end. It reads back by `core.document_reader.read_report`."""
    return _text(report_document(report), "\n") + "\n"


def _text(value: Any, line: str) -> str:
    """Give the text as `json.dumps(indent=1)` does, which writes without C as soon as it is to indent.

    A report has tens of thousands of values: the types that they mostly have come first.
    """
    kind = type(value)
    if kind is str:
        return encode_basestring(value)
    if kind is int or (kind is float and math.isfinite(value)):
        return repr(value)
    if value is None or kind is bool:
        return _LITERALS[value]
    inner = f"{line} "
    if kind is dict and value:
        pairs = [f"{encode_basestring(key)}: {_text(each, inner)}" for key, each in value.items()]
        return f"{{{inner}{f',{inner}'.join(pairs)}{line}}}"
    if kind is list and value:
        return f"[{inner}{f',{inner}'.join([_text(each, inner) for each in value])}{line}]"
    return _encode(value)
