"""The reference page: whole, escaped, and nothing in it that a browser would run or fetch."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser

from api.app.reference import POLICY, render_reference

EVIL = "<script>alert(1)</script>\"'&"
DOCUMENT = {
    "info": {"title": EVIL},
    "paths": {
        f"/api/{EVIL}": {
            "get": {
                "tags": [EVIL],
                "description": EVIL,
                "parameters": [{"name": EVIL, "in": "query", "schema": {"enum": [EVIL, 1]}, "required": True}],
                "responses": {"200": {"description": EVIL, "content": {"x": {"schema": {"$ref": "#/x/Evil"}}}}},
            }
        },
        "/api/plain": {
            "post": {
                "requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Body"}}}},
                "responses": {"201": {"content": {"application/json": {"schema": {"type": ["integer", "string"]}}}}},
            },
            "delete": {},
        },
    },
    "components": {
        "schemas": {
            "Body": {
                "required": ["Comment"],
                "properties": {
                    "Comment": {"type": "string", "description": "why"},
                    "many": {"anyOf": [{"type": "array", "items": {"const": 5}}, {"type": "null"}]},
                },
            }
        }
    },
}  # fmt: skip


class Page(HTMLParser):
    """The tags of a page and their attributes, and whether they close."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.links: list[str | None] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag != "meta":
            self.open.append(tag)
        self.links += [value for name, value in attrs if name in ("href", "src", "action", "style")]
        assert not [name for name, _ in attrs if name.startswith("on")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_what_is_in_the_document_is_text() -> None:
    page = Page(render_reference(DOCUMENT))
    assert page.open == []
    assert "script" not in page.tags
    assert page.links == ["/openapi.json"]


def test_every_operation_is_there() -> None:
    text = render_reference(DOCUMENT)
    assert re.findall(r'class="method">(\w+)<', text) == ["GET", "POST", "DELETE"]
    for word in ("Comment", "required, why", "list of 5 or null", "integer or string", "Evil"):
        assert word in text


def test_an_empty_document() -> None:
    assert Page(render_reference({})).open == []


def test_the_policy_lets_exactly_the_page_s_style_in() -> None:
    style = re.search(r"<style>(.*?)</style>", render_reference({}), re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in POLICY
    assert "script-src" not in POLICY
