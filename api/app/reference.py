"""The API's reference at /docs: one page made from the OpenAPI document, without scripts or a network.

Swagger's page comes from another origin, and what runs in this one can act with a signed-in person's session.
"""

from __future__ import annotations

import base64
import hashlib
from html import escape
from typing import Any

from fastapi import FastAPI
from fastapi.responses import HTMLResponse

STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h2 { margin-top: 2.5rem; text-transform: capitalize; }
details { border: 1px solid #8886; border-radius: .4rem; margin: .5rem 0; padding: .4rem .8rem; }
summary { cursor: pointer; overflow-wrap: anywhere; }
code, .method { font-family: ui-monospace, monospace; }
.method { display: inline-block; min-width: 4.5rem; font-weight: 700; }
table { border-collapse: collapse; width: 100%; margin: .5rem 0; }
caption { text-align: left; font-weight: 600; padding: .4rem 0; }
th, td { text-align: left; vertical-align: top; padding: .25rem .75rem .25rem 0; }
th, td { border-top: 1px solid #8884; }
"""

_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
POLICY = f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; frame-ancestors 'none'"

_METHODS = ("get", "post", "put", "patch", "delete")


def install_reference(app: FastAPI) -> None:
    """Answer /docs."""

    @app.get("/docs", include_in_schema=False)
    def reference() -> HTMLResponse:
        return HTMLResponse(render_reference(app.openapi()), headers={"Content-Security-Policy": POLICY})


def render_reference(document: dict[str, Any]) -> str:
    """The page for an OpenAPI document; whatever is in it is shown as text."""
    groups: dict[str, list[str]] = {}
    for path, methods in document.get("paths", {}).items():
        for method in _METHODS:
            if method in methods:
                operation = methods[method]
                tag = (operation.get("tags") or ["other"])[0]
                groups.setdefault(tag, []).append(_operation(document, method, path, operation))
    title = escape(document.get("info", {}).get("title", "API"))
    sections = "".join(
        f"<section><h2>{escape(tag)}</h2>{''.join(each)}</section>" for tag, each in groups.items()
    )
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head>'
        f'<body><main><h1>{title}</h1><p>As OpenAPI: <a href="/openapi.json">openapi.json</a>. '
        "A token comes from <code>POST /{tenant}/oauth2/v2.0/token</code> and goes into "
        "<code>Authorization: Bearer</code>. Microsoft's paths answer under "
        f"<code>/api/v1.0</code> as well.</p>{sections}</main></body></html>"
    )


def _operation(document: dict[str, Any], method: str, path: str, operation: dict[str, Any]) -> str:
    says = operation.get("description") or operation.get("summary") or ""
    head = f'<span class="method">{method.upper()}</span> <code>{escape(path)}</code>'
    return (
        f"<details><summary>{head}</summary><p>{escape(says)}</p>"
        + _table("Parameters", [_parameter(document, each) for each in operation.get("parameters", [])])
        + _table("Body", _body(document, operation.get("requestBody", {})))
        + _table("Answers", _answers(document, operation.get("responses", {})))
        + "</details>"
    )


def _parameter(document: dict[str, Any], parameter: dict[str, Any]) -> tuple[str, str, str]:
    place = parameter["in"] + (", required" if parameter.get("required") else "")
    return parameter["name"], _kind(document, parameter.get("schema", {})), place


def _body(document: dict[str, Any], body: dict[str, Any]) -> list[tuple[str, str, str]]:
    rows = []
    for media, content in body.get("content", {}).items():
        schema = _resolved(document, content.get("schema", {}))
        for name, field in schema.get("properties", {}).items():
            needed = "required" if name in schema.get("required", ()) else ""
            note = ", ".join(
                each for each in (needed, _resolved(document, field).get("description", "")) if each
            )
            rows.append((name, _kind(document, field), note))
        rows = rows or [("", _kind(document, schema), media)]
    return rows


def _answers(document: dict[str, Any], responses: dict[str, Any]) -> list[tuple[str, str, str]]:
    rows = []
    for status, response in responses.items():
        kinds = [_kind(document, each.get("schema", {})) for each in response.get("content", {}).values()]
        rows.append((status, ", ".join(kinds), response.get("description", "")))
    return rows


def _resolved(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    reference = schema.get("$ref", "")
    if not reference.startswith("#/components/schemas/"):
        return schema
    found: dict[str, Any] = document["components"]["schemas"].get(reference.rpartition("/")[2], {})
    return found


def _kind(document: dict[str, Any], schema: dict[str, Any]) -> str:
    """A schema in a few words."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "enum" in schema:
        return " | ".join(str(each) for each in schema["enum"])
    if "const" in schema:
        return str(schema["const"])
    for several in ("anyOf", "oneOf"):
        if several in schema:
            return " or ".join(_kind(document, each) for each in schema[several])
    if schema.get("type") == "array":
        return f"list of {_kind(document, schema.get('items', {}))}"
    kind = schema.get("type", "any")
    return (
        " or ".join(kind)
        if isinstance(kind, list)
        else str(schema.get("title", kind) if kind == "object" else kind)
    )


def _table(caption: str, rows: list[tuple[str, str, str]]) -> str:
    if not rows:
        return ""
    body = "".join(
        f'<tr><th scope="row"><code>{escape(name)}</code></th>'
        f"<td>{escape(kind)}</td><td>{escape(note)}</td></tr>"
        for name, kind, note in rows
    )
    return f"<table><caption>{caption}</caption><tbody>{body}</tbody></table>"
