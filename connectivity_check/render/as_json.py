"""A report as JSON, schema 1."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from connectivity_check.core.document import report_document
from connectivity_check.model import Report

# allow_nan=False: the document has none; JSON readers elsewhere would refuse it.
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode


def render_json(report: Report) -> str:
    """Give the document, indented, with a line end. It reads back by `core.document_reader.read_report`."""
    return "".join(_pieces(report_document(report), "\n")) + "\n"


def _pieces(value: Any, line: str) -> Iterator[str]:
    """Give the text as `json.dumps(indent=1)` does, of which only the part without indents is in C."""
    if isinstance(value, Mapping) and value:
        begin = "{"
        for key, each in value.items():
            yield f"{begin}{line} {_encode(key)}: "
            yield from _pieces(each, f"{line} ")
            begin = ","
        yield f"{line}}}"
    elif isinstance(value, Sequence) and not isinstance(value, str) and value:
        begin = "["
        for each in value:
            yield f"{begin}{line} "
            yield from _pieces(each, f"{line} ")
            begin = ","
        yield f"{line}]"
    else:
        yield _encode(value)
