"""What the command line takes, and what it refuses in one sentence."""

from __future__ import annotations

import pytest

from connectivity_check.cli_options import build_parser, parse, without_credentials
from connectivity_check.model import InputError


def refusal(*arguments: str) -> str:
    with pytest.raises(InputError) as caught:
        parse(arguments)
    return caught.value.reason


def test_nothing_given_means_the_standard_list_the_way_the_system_goes() -> None:
    wish = parse([])
    assert wish.lists == ("standard",)
    assert not any((wish.proxy, wish.pac, wish.wpad, wish.direct, wish.resolvers, wish.targets))
    assert (wish.timeout_s, wish.deadline_s, wish.concurrency, wish.format, wish.output) == (
        5,
        60,
        256,
        "table",
        "",
    )


def test_lists_add_up_and_do_not_keep_the_default() -> None:
    assert parse(["--list", "streamlined", "--list", "my.yaml"]).lists == ("streamlined", "my.yaml")


def test_targets_alone_are_checked_without_a_list() -> None:
    assert parse(["--target", "a.example"]).lists == ()
    assert parse(["--target", "a.example", "--list", "standard"]).lists == ("standard",)


def test_geographies_are_split_and_blanks_ignored() -> None:
    assert parse(["--geo", "US, ,EU"]).geo == ("US", "EU")


@pytest.mark.parametrize(("output", "expected"), [
    ("r.json", "json"), ("r.CSV", "csv"), ("r.xlsx", "xlsx"), ("r.xml", "junit"), ("r.htm", "html"), ("a/r.html", "html"),
    ("r.md", "markdown"), ("r.txt", "table"), ("-", "table"),
])  # fmt: skip
def test_the_output_tells_the_format(output: str, expected: str) -> None:
    assert parse(["-o", output]).format == expected


def test_a_format_that_is_asked_for_wins_over_the_suffix() -> None:
    assert parse(["-o", "r.json", "--format", "csv"]).format == "csv"


def test_an_output_that_tells_nothing_needs_a_format() -> None:
    assert "--format" in refusal("-o", "report")
    assert "--format" in refusal("-o", "report.pdf")
    assert parse(["-o", "report", "--format", "junit"]).format == "junit"
    assert parse(["--gate", "-o", "report"]).format == "json"


def test_minus_is_standard_output() -> None:
    assert parse(["-o", "-"]).output == ""


@pytest.mark.parametrize(
    "text", ["0", "nan", "-1", "inf", "-inf", "1e9", "999999999999", "five", "", "0.01", "1_0 s"]
)
def test_bad_times(text: str) -> None:
    for option in ("--timeout", "--deadline"):
        assert "seconds" in refusal(f"{option}={text}")


@pytest.mark.parametrize("text", ["0", "-3", "5000", "1.5", "", "x", "9" * 5000, "\u0663"])
def test_bad_concurrency(text: str) -> None:
    assert "number from 1 to 4096" in refusal(f"--concurrency={text}")


@pytest.mark.parametrize("text", ["eth0", "10.0.0", "10.0.0.1/24", "", "::g", "10.0.0.1 "])
def test_bad_addresses(text: str) -> None:
    assert "no IP address" in refusal(f"--source-address={text}")
    assert "no IP address" in refusal(f"--control-resolver={text}")


@pytest.mark.parametrize(("text", "expected"), [
    ("192.0.2.53", ("192.0.2.53", 53)), ("192.0.2.53:5353", ("192.0.2.53", 5353)), ("2001:db8::53", ("2001:db8::53", 53)),
    ("[2001:db8::53]", ("2001:db8::53", 53)), ("[2001:db8::53]:54", ("2001:db8::53", 54)),
])  # fmt: skip
def test_resolvers(text: str, expected: tuple[str, int]) -> None:
    assert parse(["--resolver", text]).resolvers == (expected,)


@pytest.mark.parametrize(
    "text", ["dns.example", "192.0.2.53:0", "192.0.2.53:70000", "192.0.2.53:", "[2001:db8::53", "[::1]x", ""]
)
def test_bad_resolvers(text: str) -> None:
    assert "no IP address" in refusal(f"--resolver={text}")


@pytest.mark.parametrize("arguments", [
    ("--proxy", "http://p:3128", "--direct"),
    ("--proxy", "http://p:3128", "--pac", "x.pac"),
    ("--pac", "x.pac", "--wpad"),
    ("--wpad", "--direct"),
    ("--direct", "--proxy-auth", "basic"),
    ("--gate", "--nagios"),
    ("--gate", "--format", "json"),
    ("--gate", "--format", "json", "-o", "-"),
    ("--replay", "r.json", "--list", "standard"),
    ("--replay", "r.json", "--target", "a.example"),
    ("--replay", "r.json", "--gate"),
    ("--replay", "r.json", "--resolver", "192.0.2.1"),
    ("--replay", "r.json", "--direct"),
])  # fmt: skip
def test_wishes_that_contradict_each_other(arguments: tuple[str, ...]) -> None:
    assert refusal(*arguments)


def test_a_replay_names_what_cannot_go_with_it() -> None:
    assert "--target" in refusal("--replay", "r.json", "--target", "a.example")


@pytest.mark.parametrize(
    "option",
    [
        "--proxy",
        "--pac",
        "--ca",
        "--public-ca",
        "-o",
        "--replay",
        "--baseline",
        "--report-to",
        "--settings",
        "--expectations",
        "--control-proxy",
        "--control-host",
    ],
)
def test_an_empty_value_is_no_default(option: str) -> None:
    """`--proxy "$PROXY"` with an unset variable must not quietly mean "whatever the system uses"."""
    assert "empty" in refusal(option, "")


@pytest.mark.parametrize("arguments", [
    ("--format", "pdf"), ("--lang", "fr"), ("--os", "beos"), ("--proxy-auth", "digest"), ("surplus",), ("--unknown",),
    ("--list",), ("--prox", "http://p"), ("--timeout",),
])  # fmt: skip
def test_usage_errors_are_one_sentence(arguments: tuple[str, ...]) -> None:
    reason = refusal(*arguments)
    assert "\n" not in reason
    assert "isolator-check --help" in reason


def test_credentials_are_masked_wherever_they_are_quoted() -> None:
    reason = refusal("--proxi", "http://user:pa@ss@proxy.example:3128")
    assert "pa@ss" in reason, "the premise: argparse quotes what it does not know"
    assert without_credentials(reason).count("***@proxy.example") == 1
    assert "pa" not in without_credentials("x http://user:pa@ss@h y").replace("proxy", "")


def test_help_names_every_option_and_shows_examples() -> None:
    parser = build_parser()
    text = parser.format_help()
    for action in parser._actions:
        for option in action.option_strings:
            assert option in text
        assert action.help
    assert "examples:" in text
    assert "exit code:" in text
    assert max(map(len, text.splitlines())) <= 110


def test_lists_are_completed() -> None:
    lists = next(action for action in build_parser()._actions if action.dest == "lists")
    assert "standard" in lists.completer()  # type: ignore[attr-defined]


@pytest.mark.parametrize(("text", "expected"), [
    ("unknown: user:secret@proxy.example:3128", "unknown: ***@proxy.example:3128"),
    ("http://user:sec/ret@proxy.example", "http://***@proxy.example"),
    ("streamlined@2025-04 has no row", "streamlined@2025-04 has no row"),
    ("my.yaml:3: no@where", "my.yaml:3: no@where"),
])  # fmt: skip
def test_masking(text: str, expected: str) -> None:
    assert without_credentials(text) == expected
