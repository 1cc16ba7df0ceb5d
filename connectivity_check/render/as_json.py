"""A report as JSON, schema 1."""

from __future__ import annotations

import json

from connectivity_check.core.document import report_document
from connectivity_check.model import Report


def render_json(report: Report) -> str:
    """Give the document, indented, with a line end. It reads back by `core.document_reader.read_report`."""
    # allow_nan=False: the document has none; JSON readers elsewhere would refuse it.
    return json.dumps(report_document(report), ensure_ascii=False, allow_nan=False, indent=1) + "\n"
