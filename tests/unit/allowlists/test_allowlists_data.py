"""The shipped lists: complete, sourced, and closed where the default profile has to be closed."""

from __future__ import annotations

import json
from collections import Counter
from importlib import resources
from typing import Any

import jsonschema
import pytest
import yaml

from allowlists import files, keys, merge
from allowlists.index import Index
from allowlists.model import EndpointList, Match

NAMES = files.SHIPPED
MDE = ("standard", "streamlined")


def document(name: str) -> dict[str, Any]:
    text = resources.files("allowlists").joinpath("data", f"{name}.yaml").read_text(encoding="utf-8")
    content: dict[str, Any] = yaml.load(text, yaml.BaseLoader)  # text only; builds no objects
    return content


def schema() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(resources.files("allowlists").joinpath("schema.json").read_text())
    return content


@pytest.mark.parametrize("name", NAMES)
def test_shipped_lists_fit_the_schema(name: str) -> None:
    text = resources.files("allowlists").joinpath("data", f"{name}.yaml").read_text(encoding="utf-8")
    jsonschema.validate(yaml.safe_load(text), schema())


def test_schema_and_parser_know_the_same_keys() -> None:
    top = schema()["properties"]
    assert top.keys() == keys.READ_KEYS | keys.REFERENCE_KEYS
    assert top["header"]["properties"].keys() == keys.HEADER_KEYS
    assert top["networks"]["items"]["properties"].keys() == keys.NETWORK_KEYS
    assert top["changes"]["items"]["properties"].keys() == keys.CHANGE_KEYS
    assert schema()["$defs"]["entry"]["properties"].keys() == keys.ENTRY_KEYS


@pytest.mark.parametrize(
    "broken",
    [
        {"header": {"list_id": "x"}, "entries": []},
        {"header": {}, "entries": [{"pattern": "a.example"}]},
        {"header": {"list_id": "x"}, "entries": [{"port": 1}]},
        {"header": {"list_id": "x"}, "entries": [{"pattern": "a.example", "prot": "udp"}]},
    ],
)
def test_the_schema_refuses(broken: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(broken, schema())


def test_standard_is_complete() -> None:
    standard = files.load("standard")
    assert [entry.n for entry in standard.entries] == list(range(1, 99))
    assert Counter(entry.geography for entry in standard.entries) == {
        "WW": 40,
        "US": 23,
        "EU": 15,
        "UK": 11,
        "AU": 9,
    }
    assert len({entry.pattern for entry in standard.entries}) == 98
    assert standard.version == "2024-12"


def test_streamlined_is_complete() -> None:
    streamlined = files.load("streamlined")
    assert [entry.n for entry in streamlined.entries] == list(range(1, 28))
    assert len({entry.pattern for entry in streamlined.entries}) == 26
    assert [(x.n, x.duplicate_of) for x in streamlined.entries if x.duplicate_of] == [(4, 3)]
    assert {entry.geography for entry in streamlined.entries} == {"WW"}


@pytest.mark.parametrize("name", NAMES)
def test_every_row_says_where_it_comes_from_and_why_it_is_open_or_shut(name: str) -> None:
    each, rows = files.load(name), document(name)["entries"]
    known = {source.id for source in each.sources}
    for entry, row in zip(each.entries, rows, strict=True):
        assert "isolation" in row, "the flag is written out, never a default"
        assert entry.isolation_reason.endswith("."), entry.id
        assert entry.certainty, entry.id
        assert entry.source, entry.id
        assert set(entry.source) <= known, entry.id
        for fact in entry.known_host_facts:
            assert fact.source, f"{entry.id} {fact.host}"
            assert set(fact.source) <= known, f"{entry.id} {fact.host}"
    for prefix in (*each.networks, *each.later_networks):
        assert prefix.isolation_reason
        assert set(prefix.source) <= known
    for change in each.changes:
        assert change.source
        assert set(change.source) <= known
        assert change.entry.isolation_reason


APEX = {
    "standard": {
        *("*.wdcp.microsoft.com", "*.ecs.office.com", "*.smartscreen-prod.microsoft.com"),
        *("*.checkappexec.microsoft.com", "*.urs.microsoft.com"),
    },
    "streamlined": {
        *("*.smartscreen-prod.microsoft.com", "*.checkappexec.microsoft.com", "*.urs.microsoft.com"),
    },
}


@pytest.mark.parametrize("name", MDE)
def test_the_bare_suffix_is_open_only_where_a_source_shows_it(name: str) -> None:
    each, rows = files.load(name), document(name)["entries"]
    assert {entry.host for entry in each.entries if entry.apex} == APEX[name]
    assert {row["host"] for row in rows if "apex" in row} == APEX[name], "explicit in the file"


@pytest.mark.parametrize(
    ("edition", "count", "has", "has_not"),
    [
        ("streamlined@2024-12", 27, "x.dm.microsoft.com", "config.edge.skype.com"),
        ("streamlined@2025-10", 26, "packages.microsoft.com", "x.dm.microsoft.com"),
        ("streamlined@2026-03", 27, "config.edge.skype.com", "reflector.defender.microsoft.com"),
        (
            "streamlined@2026-09",
            28,
            "msdefender.download.prss.microsoft.com",
            "officecdn-microsoft-com.akamaized.net",
        ),
        ("standard@2024-12", 98, "officecdn-microsoft-com.akamaized.net", "winatp-gw-aec0a.microsoft.com"),
        ("standard@2026-03", 102, "winatp-gw-aec0a.microsoft.com", "reflector.defender.microsoft.com"),
        (
            "standard@2026-09",
            102,
            "reflector.defender.microsoft.com",
            "officecdn-microsoft-com.akamaized.net",
        ),
    ],
)
def test_editions_have_the_published_counts(edition: str, count: int, has: str, has_not: str) -> None:
    each = files.load(edition)
    index = Index(each.entries)
    assert each.count == count
    assert index.covers(has)
    assert not index.covers(has_not)


def test_static_prefixes_are_the_published_ones() -> None:
    def of(each: EndpointList, name: str) -> Counter[str]:
        return Counter(prefix.geography for prefix in each.networks if prefix.name == name)

    base, later = files.load("streamlined"), files.load("streamlined@2025-07")
    assert of(base, "MicrosoftDefenderForEndpoint") == {"US": 4, "EU": 2, "UK": 2, "AU": 2, "WW": 15}
    assert of(later, "MicrosoftDefenderForEndpoint") == {"US": 4, "EU": 2, "UK": 2, "AU": 2, "WW": 17}
    assert (of(base, "OneDsCollector"), of(later, "OneDsCollector")) == ({"WW": 158}, {"WW": 190})
    assert {x.network.version for x in base.networks if x.name == "OneDsCollector"} == {4, 6}
    opened = merge.select_networks([later])
    assert {prefix.name for prefix in opened} == {"MicrosoftDefenderForEndpoint"}
    assert len(opened) == 27


OPEN = (
    *("winatp-gw-cus.microsoft.com", "winatp-gw-aue.microsoft.com", "us-v20.events.data.microsoft.com"),
    *(
        "events.data.microsoft.com",
        "x.events.data.microsoft.com",
        "wdcp.microsoft.com",
        "x.wdcp.microsoft.com",
    ),
    *("unitedstates.x.cp.wd.microsoft.com", "edr-eus.us.endpoint.security.microsoft.com"),
    *("automatedirstrprdcus.blob.core.windows.net", "ussus1eastprod.blob.core.windows.net"),
)
SHUT = (
    *("evil.blob.core.windows.net", "login.microsoftonline.com", "login.live.com", "login.windows.net"),
    *(
        "go.microsoft.com",
        "packages.microsoft.com",
        "officecdn-microsoft-com.akamaized.net",
        "www.microsoft.com",
    ),
    *("download.windowsupdate.com", "x.download.microsoft.com", "fe3cr.delivery.mp.microsoft.com"),
    *(
        "x.ods.opinsights.azure.com",
        "x.oms.opinsights.azure.com",
        "x.dm.microsoft.com",
        "client.wns.windows.com",
    ),
    *("smartscreen-prod.microsoft.com", "x.urs.microsoft.com", "ecs.office.com", "security.microsoft.com"),
    *("us.security.microsoft.com", "enterpriseregistration.windows.net", "config.edge.skype.com"),
    *("endpoint.security.microsoft.com", "blob.core.windows.net", "xwdcp.microsoft.com"),
)


@pytest.mark.parametrize("lists", [("standard",), MDE, ("standard@2026-09", "streamlined@2026-09")])
def test_the_default_profile_opens_what_a_responder_needs_and_no_shared_host(lists: tuple[str, ...]) -> None:
    index = Index(merge.select([files.load(name) for name in lists]))
    for name in OPEN:
        assert index.match(name, 443), name
    for name in SHUT:
        assert not index.match(name, 443), name
    for name in ("crl.microsoft.com", "ctldl.windowsupdate.com", "www.microsoft.com"):
        assert index.match(name, 80), name
        assert not index.match(name, 443), name


def test_every_shut_row_can_be_had_with_the_profile_all() -> None:
    for name in MDE:
        each = files.load(name)
        index = Index(merge.select([each], profile="all"))
        for entry in each.entries:
            host = entry.host.replace("*", "x")
            assert index.match(host, entry.port), entry.id


@pytest.mark.parametrize("os", ["linux", "windows", "macos"])
@pytest.mark.parametrize("geo", ["US", "EU", "UK", "AU"])
def test_every_tenant_keeps_command_and_control(geo: str, os: str) -> None:
    purposes = {entry.purpose for entry in merge.select([files.load("standard")], geo=[geo], os=os)}
    assert {"command and control", "EDR cyber data", "AutoIR sample storage"} <= purposes
    if os != "linux":
        return
    rows = merge.select([files.load("standard")], geo=[geo], os=os)
    assert {entry.geography for entry in rows} == {"WW", geo}


def test_the_collaboration_list_is_for_people_and_opens_no_file_sharing() -> None:
    each = files.load("collaboration")
    index = Index(merge.select([each]))
    for name in (
        "outlook.office.com",
        "outlook.office365.com",
        "teams.microsoft.com",
        "x.teams.microsoft.com",
    ):
        assert index.match(name, 443), name
    for name in ("contoso.sharepoint.com", "onedrive.live.com", "graph.microsoft.com", "x.skype.com"):
        assert not index.covers(name), name
    relays = [entry for entry in each.entries if entry.match is Match.NETWORK]
    assert {entry.ports for entry in relays} == {(3478, 3479, 3480, 3481)}
    assert {entry.protocol for entry in relays} == {"udp"}


def test_no_file_names_a_place_of_the_machine_it_was_made_on() -> None:
    for name in NAMES:
        text = resources.files("allowlists").joinpath("data", f"{name}.yaml").read_text(encoding="utf-8")
        assert "/work" not in text
        assert "/home" not in text
