"""Random machines and random filters that have a chance to meet."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st
from sqlalchemy.orm import Session

from api.core import odata_ast as ast
from api.schemas.machine import machine_out
from api.store.tables import Group, Machine, Tenant

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
GROUP_NAME = "Büro"
# Few values, so that filters hit; with case, wildcards, quotes, letters beyond ASCII, control letters.
TEXTS = (
    "",
    "a",
    "A",
    "ab",
    "AB",
    "b%",
    "a_b",
    "it's",
    "\\",
    "ä",
    "Ä",
    "İi",
    "ß",
    "端末-1",
    "z\U0001f600",
    "\x01",
    "~",
)
TAGS = ("a", "A", "b%", "ä", "it's", '"', "never-isolate")
PLATFORMS = ("", "Windows10", "windows10", "Linux")
NUMBERS = (0, 1, -1, 5, 19042, 19045)
INSTANTS = tuple(NOW - each for each in (
    timedelta(0), timedelta(microseconds=1), timedelta(days=1), timedelta(days=7),
    timedelta(days=7, microseconds=1), timedelta(days=400),
))  # fmt: skip

texts, instants = st.sampled_from(TEXTS), st.sampled_from(INSTANTS)
_addresses = st.lists(
    st.fixed_dictionaries(
        {"ipAddress": st.sampled_from(("10.0.0.1", "FE80::1", "fe80::1"))},
        optional={
            "macAddress": st.sampled_from(("", "AA", "aa", 5, None)),
            "operationalStatus": st.just("Up"),
        },
    ),
    max_size=2,
)
_facts = st.fixed_dictionaries(
    {},
    optional={
        "processor": st.sampled_from(("x64", "X64", "", 5, None, ["x64"])),
        "version": texts,
        "os_build": st.sampled_from((*NUMBERS, "19042", None, 5.0, 10**17)),
        "architecture": texts,
        "ip_addresses": st.one_of(_addresses, st.sampled_from((None, "x", {"ipAddress": "10.0.0.1"}))),
    },
)
machines = st.fixed_dictionaries(
    {
        "computer_name": texts,
        "tags": st.lists(st.sampled_from(TAGS), max_size=3),
        "facts": _facts,
        "os_platform": st.sampled_from(PLATFORMS),
        "last_ip": st.sampled_from((None, "10.0.0.1", "fe80::1")),
        "external_ip": st.none(),
        "agent_version": st.sampled_from(("", "1.0", "1.10")),
        "excluded_reason": st.one_of(st.none(), texts),
        "duplicate_since": st.one_of(st.none(), instants),
        "unenrolled_at": st.one_of(st.none(), instants),
        "first_seen": instants,
        "last_seen": instants,
        "enrolled_at": instants,
        "group_id": st.sampled_from((None, 1)),
        "desired": st.sampled_from(("connected", "isolated")),
        "observed_state": st.sampled_from(("connected", "isolated", "unknown")),
        "generation": st.integers(0, 2),
        "observed_generation": st.integers(0, 2),
        "observed_at": st.one_of(st.none(), instants),
        "verified_at": st.one_of(st.none(), instants),
    }
)

_STRINGS = {
    *("id", "mergedIntoMachineId", "exclusionReason", "computerDnsName", "osPlatform", "lastIpAddress"),
    *("agentVersion", "healthStatus", "onboardingStatus", "rbacGroupName", "isolationState", "osProcessor"),
    *("version", "osArchitecture", "riskScore", "aadDeviceId", "observed/state"),
}
_NUMBERS = {"rbacGroupId", "osBuild", "observed/generation"}
_BOOLEANS = {"isPotentialDuplication", "isExcluded", "isAadJoined", "observed/verified"}
_INSTANTS = {"firstSeen", "lastSeen", "observed/verifiedAt", "observed/reportedAt"}
SORTABLE = sorted(_STRINGS | _NUMBERS | _BOOLEANS | _INSTANTS)
_WORDS = (
    *TEXTS,
    *PLATFORMS,
    *TAGS,
    "active",
    "Active",
    "CANBEONBOARDED",
    "isolated",
    "10.0.0.1",
    "X64",
    "none",
    GROUP_NAME,
    "0",
)


def add(session: Session, rows: list[dict[str, Any]], first: int = 0) -> list[dict[str, Any]]:
    """Put machines into the database and give them as the API shows them."""
    found = [
        Machine(id=f"{number:040x}", tenant_id="t", public_key=b"", observed=None, **row)
        for number, row in enumerate(rows, start=first)
    ]
    session.add_all(found)
    session.flush()
    return [machine_out(each, GROUP_NAME if each.group_id else None, NOW).model_dump() for each in found]


def prepare(session: Session) -> None:
    """A tenant with one group, the latter of number 1."""
    session.add(Tenant(id="t", name="t", created_at=NOW, policy={}))
    session.flush()
    session.add(Group(id=1, tenant_id="t", name=GROUP_NAME))


def _paths(names: set[str]) -> st.SearchStrategy[ast.Path]:
    spelled = st.sampled_from(sorted(names)).flatmap(lambda name: st.sampled_from((name, name, name.upper())))
    return spelled.map(lambda name: ast.Path(tuple(name.split("/"))))


def _literals(values: st.SearchStrategy[Any]) -> st.SearchStrategy[ast.Literal]:
    return values.map(ast.Literal)


def _comparisons(
    left: st.SearchStrategy[Any],
    values: st.SearchStrategy[Any],
    ops: tuple[ast.Comparison, ...] = tuple(ast.Comparison),
) -> st.SearchStrategy[ast.Condition]:
    nullable = _literals(st.one_of(values, st.none()))
    return st.one_of(
        st.builds(ast.Compare, st.sampled_from(ops), left, nullable),
        st.builds(ast.OneOf, left, st.lists(nullable, min_size=1, max_size=3).map(tuple)),
    )


def _cased(of: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(of, of, st.builds(ast.Cased, st.sampled_from(ast.Case), of))


def _about_texts(left: st.SearchStrategy[Any]) -> st.SearchStrategy[ast.Condition]:
    words = st.sampled_from(_WORDS)
    return st.one_of(
        _comparisons(left, words),
        st.builds(ast.TextMatch, st.sampled_from(ast.Match), left, _literals(words)),
    )


def _combined(of: st.SearchStrategy[ast.Condition]) -> st.SearchStrategy[ast.Condition]:
    several = st.lists(of, min_size=2, max_size=3).map(tuple)
    return st.one_of(st.builds(ast.And, several), st.builds(ast.Or, several), st.builds(ast.Not, of))


_numbers = st.one_of(
    st.sampled_from(NUMBERS), st.sampled_from((0.5, 5.0, -0.5, 19042.5, 1e-7, 9e18, 2**63 - 1))
)
_equality = (ast.Comparison.EQ, ast.Comparison.NE)
_about_text = _about_texts(_cased(_paths(_STRINGS)))
_about_number = _comparisons(_paths(_NUMBERS), _numbers)
_about_instant = _comparisons(_paths(_INSTANTS), instants)
_about_boolean = _comparisons(_paths(_BOOLEANS), st.booleans(), _equality)
_about_tag = _about_texts(_cased(st.just(ast.Path(("t",)))))
_about_address = _about_texts(
    st.sampled_from(("ipAddress", "macAddress", "operationalStatus")).map(lambda name: ast.Path(("i", name)))
)


@st.composite
def _plain(draw: st.DrawFn) -> ast.Condition:
    alone = st.builds(ast.Holds, _paths(_BOOLEANS)) | st.builds(ast.Constant, st.booleans())
    return draw(st.one_of(_about_text, _about_number, _about_instant, _about_boolean, alone))


@st.composite
def _about_elements(draw: st.DrawFn) -> ast.Condition:
    name, variable, inner = draw(
        st.sampled_from(
            (
                ("machineTags", "t", _about_tag),
                ("machineTags", "t", _combined(_about_tag | _plain())),
                ("ipAddresses", "i", _about_address),
            )
        )
    )
    path = ast.Path((name,))
    if draw(st.integers(0, 5)) == 0:
        return ast.Quantified(path, every=False)
    return ast.Quantified(path, draw(st.booleans()), variable, draw(inner))


@st.composite
def _single(draw: st.DrawFn) -> ast.Condition:
    return draw(st.one_of(_plain(), _plain(), _about_elements()))


filters = st.recursive(_single(), _combined, max_leaves=8)
