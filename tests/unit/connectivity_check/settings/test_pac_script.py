"""The functions a PAC file may call: the examples of Netscape's definition, and what people get wrong."""

from __future__ import annotations

import pytest

from connectivity_check.settings.pac_script import NAMES_PER_CALL, Names, Script

KNOWN = {
    "www.example": ("192.0.2.7", "2001:db8::7"),
    "six.example": ("2001:db8::6",),
    "dead.example": (),
}


def evaluate(expression: str, before: str = "") -> object:
    names = Names()
    names.known.update(KNOWN)
    script = Script(names)
    assert (
        script.load(f"{before}\nfunction FindProxyForURL(url, host) {{ return String({expression}); }}") == {}
    )
    answer = script.ask("https://host.example/", "host.example")
    return answer.get("result", answer.get("error"))


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("isPlainHostName('www')", "true"),
        ("isPlainHostName('www.example')", "false"),
        ("isPlainHostName('::1')", "false"),
        ("dnsDomainIs('www.example.com', '.example.com')", "true"),
        ("dnsDomainIs('www.example.com', 'ample.com')", "true"),
        ("dnsDomainIs('www', '.example.com')", "false"),
        ("localHostOrDomainIs('www.mcom.example', 'www.mcom.example')", "true"),
        ("localHostOrDomainIs('www', 'www.mcom.example')", "true"),
        ("localHostOrDomainIs('www.other.example', 'www.mcom.example')", "false"),
        ("localHostOrDomainIs('home.mcom.example', 'www.mcom.example')", "false"),
        ("dnsDomainLevels('www')", "0"),
        ("dnsDomainLevels('www.a.example')", "2"),
        ("convert_addr('104.16.41.2')", "1745889538"),
        ("convert_addr('255.255.255.255')", "-1"),
        ("convert_addr('nonsense')", "0"),
        ("dnsResolve('www.example')", "192.0.2.7"),
        ("dnsResolve('WWW.Example')", "192.0.2.7"),
        ("dnsResolve('192.0.2.9')", "192.0.2.9"),
        ("dnsResolve('six.example')", "null"),
        ("dnsResolve('dead.example')", "null"),
        ("isResolvable('www.example')", "true"),
        ("isResolvable('dead.example')", "false"),
        ("isInNet('192.0.2.9', '192.0.2.0', '255.255.255.0')", "true"),
        ("isInNet('198.95.249.79', '198.95.0.0', '255.255.0.0')", "true"),
        ("isInNet('200.1.2.3', '200.0.0.0', '255.0.0.0')", "true"),
        ("isInNet('www.example', '192.0.2.7', '255.255.255.255')", "true"),
        ("isInNet('www.example', '10.0.0.0', '255.0.0.0')", "false"),
        ("isInNet('dead.example', '0.0.0.0', '0.0.0.0')", "false"),
        ("isInNet(dnsResolve('dead.example'), '10.0.0.0', '255.0.0.0')", "false"),
        ("isInNet('192.0.2.256', '192.0.2.0', '255.255.255.0')", "false"),
        ("isInNet('192.0.2.1', '192.0.2.0', '/24')", "false"),
        ("dnsResolveEx('www.example')", "192.0.2.7;2001:db8::7"),
        ("'[' + dnsResolveEx('dead.example') + ']'", "[]"),
        ("isResolvableEx('six.example')", "true"),
        ("isInNetEx('six.example', '2001:db8::/32')", "true"),
        ("isInNetEx('192.0.2.7', '192.0.2.0/24')", "true"),
        ("isInNetEx('192.0.2.7', '2001:db8::/32')", "false"),
        ("isInNetEx('192.0.2.7', 'nonsense')", "false"),
        ("sortIpAddressList('10.2.3.9;2001:4898::2;::1;127.0.0.1')", "::1;2001:4898::2;10.2.3.9;127.0.0.1"),
        ("'[' + sortIpAddressList('10.2.3.9;nonsense') + ']'", "[]"),
        ("getClientVersion()", "1.0"),
        ("alert('x')", "undefined"),
        ("shExpMatch('http://home.example/people/ari/index.html', '*/ari/*')", "true"),
        ("shExpMatch('http://home.example/people/montulli/index.html', '*/ari/*')", "false"),
        ("shExpMatch('a.example', '*.example')", "true"),
        ("shExpMatch('aXexample', 'a.example')", "false"),
        ("shExpMatch('abc', 'a?c')", "true"),
        ("shExpMatch('ac', 'a?c')", "false"),
        ("shExpMatch('abc', '***')", "true"),
        ("shExpMatch('', '')", "true"),
        ("shExpMatch('a', '')", "false"),
        ("shExpMatch('a+b(c)[d]^$|', 'a+b(c)[d]^$|')", "true"),
        ("shExpMatch('abcabc', '*abc')", "true"),
    ],
)
def test_names_and_addresses(expression: str, expected: str) -> None:
    assert evaluate(expression) == expected


def test_a_pattern_cannot_run_away() -> None:
    # A translation to a regular expression needs longer than the universe for this one.
    assert evaluate("shExpMatch(new Array(20000).join('a'), new Array(500).join('*a') + '*b')") == "false"


# Saturday 2024-12-28 23:30:15 local, Sunday 2024-12-29 04:30:15 in GMT.
CLOCK = """
var Date = function () {};
Date.prototype = {
  getDay: function () { return 6; }, getUTCDay: function () { return 0; },
  getDate: function () { return 28; }, getUTCDate: function () { return 29; },
  getMonth: function () { return 11; }, getUTCMonth: function () { return 11; },
  getFullYear: function () { return 2024; }, getUTCFullYear: function () { return 2024; },
  getHours: function () { return 23; }, getUTCHours: function () { return 4; },
  getMinutes: function () { return 30; }, getUTCMinutes: function () { return 30; },
  getSeconds: function () { return 15; }, getUTCSeconds: function () { return 15; }
};
"""


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("weekdayRange('SAT')", "true"),
        ("weekdayRange('SAT', 'GMT')", "false"),
        ("weekdayRange('SUN', 'GMT')", "true"),
        ("weekdayRange('MON', 'FRI')", "false"),
        ("weekdayRange('FRI', 'MON')", "true"),
        ("weekdayRange('SUN', 'FRI')", "false"),
        ("weekdayRange('sat')", "true"),
        ("weekdayRange('SAMEDI')", "false"),
        ("weekdayRange()", "false"),
        ("dateRange(28)", "true"),
        ("dateRange(28, 'GMT')", "false"),
        ("dateRange(1, 27)", "false"),
        ("dateRange(25, 3)", "true"),
        ("dateRange('DEC')", "true"),
        ("dateRange('JAN', 'MAR')", "false"),
        ("dateRange('NOV', 'JAN')", "true"),
        ("dateRange(2024)", "true"),
        ("dateRange(2025, 2030)", "false"),
        ("dateRange(2030, 2020)", "false"),
        ("dateRange(24, 'DEC')", "false"),
        ("dateRange(24, 'DEC', 2, 'JAN')", "true"),
        ("dateRange(1, 'JUN', 15, 'AUG')", "false"),
        ("dateRange('OCT', 2023, 'JAN', 2025)", "true"),
        ("dateRange('JAN', 2025, 'FEB', 2025)", "false"),
        ("dateRange(1, 'JUN', 2024, 15, 'AUG', 2024)", "false"),
        ("dateRange(28, 'DEC', 2024, 28, 'DEC', 2024)", "true"),
        ("dateRange(1, 2, 3)", "false"),
        ("dateRange('x')", "false"),
        ("dateRange()", "false"),
        ("timeRange(23)", "true"),
        ("timeRange(4, 'GMT')", "true"),
        ("timeRange(8, 18)", "false"),
        ("timeRange(22, 6)", "true"),
        ("timeRange(23, 0, 23, 30)", "true"),
        ("timeRange(23, 31, 23, 59)", "false"),
        ("timeRange(23, 30, 15, 23, 30, 15)", "true"),
        ("timeRange(23, 30, 16, 23, 30, 15)", "true"),
        ("timeRange(0, 0, 0, 0, 0, 30)", "false"),
        ("timeRange('a', 'b')", "false"),
        ("timeRange(1, 2, 3)", "false"),
    ],
)
def test_times(expression: str, expected: str) -> None:
    assert evaluate(expression, CLOCK) == expected


def test_a_script_that_asks_for_many_names_is_stopped() -> None:
    answer = evaluate(
        f"(function () {{ for (var i = 0; i < {NAMES_PER_CALL + 1}; i++) dnsResolve(i + '.x'); }}())"
    )
    assert answer == f"Error: it looks up more than {NAMES_PER_CALL} names"


def test_the_script_reaches_neither_files_nor_environment() -> None:
    found = evaluate("[typeof process, typeof require, typeof XMLHttpRequest, typeof importScripts]")
    assert set(str(found).split(",")) == {"undefined"}
    assert "undefined" not in str(evaluate("typeof call_python"))
    for name in ("dukpy.load_module", "os.system", "pac.nothing"):
        assert "DIRECT" not in str(evaluate(f"call_python('{name}', 'os')"))


@pytest.mark.parametrize(
    ("text", "error", "line"),
    [
        ("\n\nfunction FindProxyForURL(u, h {", "SyntaxError", 3),
        ("var x = 1;", "it defines no function FindProxyForURL", None),
        ("var FindProxyForURL = 'DIRECT';", "it defines no function", None),
        ("function FindProxyForURL() { return 'DIRECT'; }\n\nnothing();", "ReferenceError", 3),
        ("", "it defines no function", None),
        ("/* open", "SyntaxError", None),
        ("throw {};", "[object Object]", None),
        ("throw '';", "", None),
    ],
)
def test_a_file_that_does_not_load(text: str, error: str, line: int | None) -> None:
    answer = Script(Names()).load(text)
    assert error in answer["error"]
    assert line is None or answer["line"] == line


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("return null", {"result": None}),
        ("return undefined", {"result": None}),
        ("", {"result": None}),
        ("return ''", {"result": ""}),
        ("return 5", {"error": "it returns a value of type number, not text"}),
        ("return {}", {"error": "it returns a value of type object, not text"}),
        ("var x = {}; x.x = x; return x", {"error": "it returns a value of type object, not text"}),
        ("return FindProxyForURL", {"error": "it returns a value of type function, not text"}),
        (
            "return {toString: function () { for (;;); }}",
            {"error": "it returns a value of type object, not text"},
        ),
    ],
)
def test_what_a_script_may_give(body: str, expected: dict[str, object]) -> None:
    script = Script(Names())
    assert script.load(f"function FindProxyForURL(url, host) {{ {body} }}") == {}
    assert script.ask("https://a.example/", "a.example") == expected


def test_an_exception_tells_the_line() -> None:
    script = Script(Names())
    script.load("\nfunction FindProxyForURL(url, host) {\n\n  throw new Error('no');\n}")
    answer = script.ask("https://a.example/", "a.example")
    assert answer["error"] == "Error: no"
    assert 2 <= answer["line"] <= 4


def test_endless_recursion_is_an_error_of_this_target_only() -> None:
    script = Script(Names())
    script.load(
        "function FindProxyForURL(u, h) { return h === 'deep' ? FindProxyForURL(u, h) + '' : 'DIRECT'; }"
    )
    assert "stack" in script.ask("https://deep/", "deep")["error"]
    assert script.ask("https://a/", "a") == {"result": "DIRECT"}


def test_the_function_for_ipv6_is_preferred() -> None:
    script = Script(Names())
    script.load(
        "function FindProxyForURL() { return 'DIRECT'; } function FindProxyForURLEx() { return 'PROXY p:1'; }"
    )
    assert script.ask("https://a/", "a") == {"result": "PROXY p:1"}


def test_modern_files_work_too() -> None:
    script = Script(Names())
    assert script.load("const P = `PROXY p:1`; const FindProxyForURL = (url, host) => P;") == {}
    assert script.ask("https://a/", "a") == {"result": "PROXY p:1"}
