"""JUnit XML in the shape that Jenkins' xUnit plug-in takes."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import pytest

from connectivity_check.render.as_junit import render_junit
from tests.golden.preflight_reports import REPORTS, company, many, stopped

SCHEMA = Path(__file__).with_name("junit.xsd")


def suite() -> Element:
    found = ElementTree.fromstring(render_junit(company())).find("testsuite")
    assert found is not None
    return found


def test_counts_agree_with_what_is_there() -> None:
    found = suite()
    assert found.get("tests") == str(len(found.findall("testcase"))) == "10"
    assert found.get("failures") == str(len(found.findall("testcase/failure"))) == "6"
    assert found.get("errors") == str(len(found.findall("testcase/error"))) == "1"
    assert found.get("skipped") == str(len(found.findall("testcase/skipped"))) == "1"


def test_a_blocked_row() -> None:
    failure = suite().find("testcase/failure")
    assert failure is not None
    assert failure.get("type") == "tcp.dropped"
    assert str(failure.get("message")).startswith("Permit outgoing tcp/443")
    assert "3 SYNs" in str(failure.text)


def test_evidence_is_in_the_properties() -> None:
    names = [each.get("name") for each in suite().findall("properties/property")]
    assert "row.3.evidence" in names
    assert "source_address" in names


def test_a_degraded_row_passes_and_says_why() -> None:
    case = next(each for each in suite().findall("testcase") if "v20.events" in str(each.get("name")))
    assert [child.tag for child in case] == ["system-out"]


def test_an_unfinished_row_is_an_error() -> None:
    root = ElementTree.fromstring(render_junit(stopped()))
    error = root.find("testsuite/testcase/error")
    assert error is not None
    assert error.get("type") == "meta.interrupted"


@pytest.mark.parametrize("name", [*REPORTS, "many"])
def test_schema(name: str, tmp_path: Path) -> None:
    xmllint = shutil.which("xmllint")
    if xmllint is None:
        pytest.skip("xmllint (Debian: libxml2-utils) is not installed")
    report = many(500) if name == "many" else REPORTS[name]
    file = tmp_path / "report.xml"
    file.write_text(render_junit(report), encoding="utf-8")
    done = subprocess.run(
        [xmllint, "--noout", "--nonet", "--schema", SCHEMA, file], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_the_schema_refuses(tmp_path: Path) -> None:
    xmllint = shutil.which("xmllint")
    if xmllint is None:
        pytest.skip("xmllint (Debian: libxml2-utils) is not installed")
    file = tmp_path / "report.xml"
    file.write_text(render_junit(company()).replace("<testcase name=", "<testcase title="), encoding="utf-8")
    done = subprocess.run(
        [xmllint, "--noout", "--nonet", "--schema", SCHEMA, file], capture_output=True, text=True
    )
    assert done.returncode != 0
