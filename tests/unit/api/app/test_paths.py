"""Paths in any case and with slashes at their end."""

from __future__ import annotations

import pytest
from fastapi import APIRouter

from api.app.paths import Paths

MACHINE = "AbC123"


def nothing() -> None:
    """A route's handler."""


@pytest.fixture(scope="module")
def paths() -> Paths:
    router, root = APIRouter(), APIRouter()
    router.add_api_route("/machines", nothing)
    router.add_api_route("/machines/findbyip(ip='{address}',timestamp={at})", nothing)
    router.add_api_route("/machines/{machine_id}", nothing, methods=["GET"])
    router.add_api_route("/machines/{machine_id}", nothing, methods=["DELETE"])
    router.add_api_route("/machines/{machine_id}/machineactions", nothing)
    router.add_api_route("/machines/{machine_id}/isolate", nothing, methods=["POST"])
    root.add_api_route("/{tenant}/oauth2/token", nothing, methods=["POST"])
    made = Paths()
    made.add(root, "")
    made.add(router, "/api")
    made.add(router, "/api/v1.0")
    return made


@pytest.mark.parametrize(
    ("asked", "spelled"),
    [
        ("/api/machines", "/api/machines"),
        ("/api/machines/", "/api/machines"),
        ("/api/machines///", "/api/machines"),
        ("/API/Machines", "/api/machines"),
        (f"/api/machines/{MACHINE}", f"/api/machines/{MACHINE}"),
        (f"/api/Machines/{MACHINE}/machineActions/", f"/api/machines/{MACHINE}/machineactions"),
        (f"/api/V1.0/machines/{MACHINE}/Isolate", f"/api/v1.0/machines/{MACHINE}/isolate"),
        ("/api/machines/{machine_id}", "/api/machines/{machine_id}"),
        ("/api/machines/{0.__class__}/Isolate", "/api/machines/{0.__class__}/isolate"),
        (
            "/api/machines/FindByIp(Ip='10.0.0.1',Timestamp=2026-01-01T00:00:00Z)",
            "/api/machines/findbyip(ip='10.0.0.1',timestamp=2026-01-01T00:00:00Z)",
        ),
        ("/Acme/OAuth2/Token", "/Acme/oauth2/token"),
        ("/portal/", "/portal/"),
        ("/", "/"),
        ("", ""),
        ("/api", "/api"),
        ("/api//machines", "/api//machines"),
        ("/nothing/", "/nothing/"),
        ("/portal/Machines/", "/portal/Machines/"),
    ],
)
def test_spelled(paths: Paths, asked: str, spelled: str) -> None:
    assert paths.spelled(asked) == spelled


def test_methods(paths: Paths) -> None:
    assert paths.methods("/api/machines/x") == ["DELETE", "GET"]
    assert paths.methods("/api/machines/x/isolate") == ["POST"]
    assert paths.methods("/api/nothing") == []
