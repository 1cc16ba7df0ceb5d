"""Our licence stays ours: the table of dependencies is complete, and product code imports no GPL module."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PRODUCT = ("allowlists", "isolator", "connectivity_check", "api")
GPL_MODULES = frozenset(("scapy", "nftables"))
"""Import names of GPL packages that are or were installed beside us (docs/adr/0001-licences.md)."""

TRACE = "connectivity_check/probes/capture.py"
"""The one product file that may import scapy, inside functions: --trace, behind the extra of that name."""


def canonical(name: str) -> str:
    """A distribution's name as package indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def table_rows() -> dict[str, tuple[str, str]]:
    """Version and licence of each package in docs/licences.md."""
    text = (ROOT / "docs/licences.md").read_text(encoding="utf-8")
    packages = text.partition("## Data")[0]
    rows = re.findall(r"^\| ([A-Za-z0-9_.-]+) \| ([^|]+) \| ([^|]+) \| [^|]+ \|$", packages, re.MULTILINE)
    return {canonical(name): (version, licence) for name, version, licence in rows if name != "package"}


def direct_dependencies() -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [
        *project["dependencies"],
        *(each for extra in project["optional-dependencies"].values() for each in extra),
    ]
    found = {re.match(r"[A-Za-z0-9_.-]+", each) for each in wanted}
    return {canonical(each.group()) for each in found if each}


def locked() -> dict[str, str]:
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    return {
        canonical(name): version
        for name, version in re.findall(r"^([A-Za-z0-9_.-]+)==([^\s;\\]+)", text, re.M)
    }


def imported_modules(source: str) -> set[str]:
    """Top-level names of what a source text imports; `importlib.import_module("x")` counts too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found.update(each.name.partition(".")[0] for each in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.partition(".")[0])
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            found.update(
                str(each.value).partition(".")[0] for each in node.args if isinstance(each, ast.Constant)
            )
    return found


def test_every_direct_dependency_is_in_the_table() -> None:
    dependencies = direct_dependencies()
    assert "pyyaml" in dependencies
    assert dependencies - table_rows().keys() == set(), "add the package with its licence to docs/licences.md"


def test_every_locked_package_is_in_the_table_with_its_version() -> None:
    rows = table_rows()
    stale = {name: version for name, version in locked().items() if rows.get(name, ("", ""))[0] != version}
    assert stale == {}, "look the licences of these versions up and correct docs/licences.md"


def test_every_row_names_a_licence_and_only_known_ones_are_gpl() -> None:
    gpl = {name for name, (_, licence) in table_rows().items() if "GPL" in licence and " OR " not in licence}
    assert all(licence.strip() for _, licence in table_rows().values())
    assert gpl <= {"scapy", "pip-nftables", "psycopg", "psycopg-binary"}


@pytest.mark.parametrize("package", PRODUCT)
def test_product_code_imports_no_gpl_module(package: str) -> None:
    sources = sorted((ROOT / package).rglob("*.py"))
    assert sources or package in ("connectivity_check", "api")
    found = {
        f"{path.relative_to(ROOT)} imports {name}"
        for path in sources
        if path.relative_to(ROOT).as_posix() != TRACE
        for name in imported_modules(path.read_text(encoding="utf-8")) & GPL_MODULES
    }
    assert found == set()


def test_the_one_exception_imports_scapy_only_when_asked() -> None:
    source = (ROOT / TRACE).read_text(encoding="utf-8")
    assert imported_modules(source) & GPL_MODULES == {"scapy"}
    outside = [
        each
        for each in ast.parse(source).body
        if not isinstance(each, ast.FunctionDef | ast.ClassDef)
        and not (isinstance(each, ast.If) and ast.unparse(each.test) == "TYPE_CHECKING")
    ]
    assert imported_modules("\n".join(map(ast.unparse, outside))) & GPL_MODULES == set()


def test_scapy_is_no_default_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert not [each for each in project["dependencies"] if "scapy" in each]
    assert {name for name, extra in project["optional-dependencies"].items() if "scapy" in str(extra)} == {
        "packet-tests",
        "trace",
    }


@pytest.mark.parametrize(
    "source",
    [
        "import scapy",
        "import scapy.all as s",
        "from scapy.layers.inet import IP",
        "def f():\n    import os, scapy.all",
        "if True:\n    from nftables import Nftables",
        "import importlib\nimportlib.import_module('scapy.all')",
        "__import__('nftables')",
    ],
)
def test_the_walk_sees_each_way_of_importing(source: str) -> None:
    assert imported_modules(source) & GPL_MODULES


def test_the_walk_takes_neighbours_and_texts_for_nothing() -> None:
    source = "from . import nftables\nfrom isolator.adapters.nftables import backend\nx = 'import scapy'\n"
    assert imported_modules(source) & GPL_MODULES == set()


def test_the_licence_is_mit_and_the_project_says_so() -> None:
    assert (ROOT / "LICENSE").read_text(encoding="utf-8").startswith("MIT License\n")
    assert "MIT" in str(
        tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["license"]
    )
