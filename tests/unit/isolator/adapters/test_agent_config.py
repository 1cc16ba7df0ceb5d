"""`agent.yaml`: what it may say, and the one sentence for each thing it may not."""

from __future__ import annotations

import os
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from isolator.adapters.agent_config import MAX_BYTES, load_config
from isolator.model.config import AgentConfig, ControllerSettings, NotifySettings
from isolator.model.failure import FailureCode, IsolatorError
from isolator.model.flow import Transport
from isolator.model.policy import ControlEndpoint, Direction, Exclusion, LearnLimits, ProxyEndpoint

EVERYTHING = """\
# every key there is
geo: [eu, US]
os: linux
lists: [streamlined, ./own.yaml, standard@2024-12]
profile: all
resolvers: [192.0.2.53, "2001:db8::53"]
control_channel:
  - {host: Controller.Example., port: 8443}
  - {address: 203.0.113.5, port: 443}
proxies:
  - {address: 192.0.2.8, port: 3128}
  - {address: "2001:db8::8", port: 8080}
exclusions:
  - {name: backup, direction: out, remote: 198.51.100.0/24, port: 873, process: {uid: 34}}
  - {name: Help desk, direction: in, remote: "2001:db8:1::/48", port: 3389, protocol: tcp}
  - {name: telephony, direction: out, remote: "*.phone.example", protocol: udp}
  - {name: root only, direction: out, remote: files.example, process: {user: root}}
learn: {ttl_floor_s: 30, ttl_ceiling_s: 3600, private_answers: [10.0.0.0/8]}
notify: {command: [/usr/local/bin/told, "two words"], contact: "SOC, +81 3 0000 0000"}
controller: {url: "https://controller.example:8443/", ca: pki/ca.pem, enrolment_token: once}
"""


def write(directory: Path, text: str | bytes, name: str = "agent.yaml") -> Path:
    path = directory / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    path.chmod(0o600)
    return path


def refusal(path: Path) -> str:
    """The sentence, after its code and operation are checked."""
    with pytest.raises(IsolatorError) as caught:
        load_config(path, required=True)
    assert caught.value.code is FailureCode.BAD_CONFIG
    assert caught.value.exit_code == 2
    assert "\n" not in caught.value.sentence
    return caught.value.sentence


def test_everything_it_can_say(tmp_path: Path) -> None:
    write(tmp_path, "header: {list_id: own}", "own.yaml")
    assert load_config(write(tmp_path, EVERYTHING)) == AgentConfig(
        geo=("EU", "US"),
        os="linux",
        lists=("streamlined", str(tmp_path / "own.yaml"), "standard@2024-12"),
        profile="all",
        resolvers=(ip_address("192.0.2.53"), ip_address("2001:db8::53")),
        control_channel=(
            ControlEndpoint(8443, host="controller.example"),
            ControlEndpoint(443, address=ip_address("203.0.113.5")),
        ),
        proxies=(
            ProxyEndpoint(ip_address("192.0.2.8"), 3128),
            ProxyEndpoint(ip_address("2001:db8::8"), 8080),
        ),
        exclusions=(
            Exclusion("backup", Direction.OUT, Transport.TCP, 873, ip_network("198.51.100.0/24"), None, 34),
            Exclusion("Help desk", Direction.IN, Transport.TCP, 3389, ip_network("2001:db8:1::/48")),
            Exclusion("telephony", Direction.OUT, Transport.UDP, pattern="*.phone.example"),
            Exclusion("root only", Direction.OUT, Transport.TCP, pattern="files.example", uid=0),
        ),
        learn=LearnLimits(30.0, 3600.0, (ip_network("10.0.0.0/8"),)),
        notify=NotifySettings(("/usr/local/bin/told", "two words"), "SOC, +81 3 0000 0000"),
        controller=ControllerSettings(
            "https://controller.example:8443/", str(tmp_path / "pki/ca.pem"), "once"
        ),
    )


@pytest.mark.parametrize("text", ["", "\n\n", "# geo: [EU]\n  # lists: []\n", "{}", b"\xef\xbb\xbf# a BOM\n"])
def test_nothing_said_is_the_defaults(tmp_path: Path, text: str | bytes) -> None:
    assert load_config(write(tmp_path, text)) == AgentConfig()


def test_a_command_in_one_text_is_split_and_no_shell_is_meant(tmp_path: Path) -> None:
    path = write(tmp_path, "notify: {command: \"tell --to 'the desk' $HOME\"}")
    assert load_config(path).notify.command == ("tell", "--to", "the desk", "$HOME")


def test_a_missing_default_is_all_defaults_and_a_missing_named_file_an_error(tmp_path: Path) -> None:
    absent = tmp_path / "absent.yaml"
    assert load_config(absent) == AgentConfig()
    assert refusal(absent) == f"{absent}: the configuration cannot be read: No such file or directory"


def test_a_default_that_points_nowhere_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "agent.yaml").symlink_to(tmp_path / "gone")
    with pytest.raises(IsolatorError, match="No such file"):
        load_config(tmp_path / "agent.yaml")


def test_the_token_is_never_shown(tmp_path: Path) -> None:
    path = write(tmp_path, "controller: {url: 'https://c.example', enrolment_token: s3cret}")
    config = load_config(path)
    assert config.controller is not None
    assert config.controller.enrolment_token == "s3cret"
    assert "s3cret" not in repr(config)


TWICE = """\
exclusions:
- {name: X, direction: out, remote: 192.0.2.1}
- {name: x, direction: in, remote: 192.0.2.2}
"""

BAD = [
    # what is no configuration
    ("os: linux\ngeo: a: b", 2, "is not YAML"),
    ("- geo", 1, "must be a mapping"),
    ("just text", 1, "must be a mapping"),
    ("--- {}\n--- {}\n", 2, "second YAML document"),
    ("a: &a 1\nb: *a\n", 2, "alias"),
    ("geo: !!python/name:os.system x", 1, "tag"),
    ("os: linux\nos: linux\n", 2, "appears twice"),
    ("geo: [EU]\nexclusion: []\n", 2, "unknown key 'exclusion'"),
    ("learn: {ttl_flor_s: 3}", 1, "unknown key 'ttl_flor_s'"),
    ("\nlists:\n", 2, "`lists` of the configuration has no value"),
    ("notify: {command: ~}", 1, "`command` of `notify` has no value"),
    ("geo: [EU]\x07", 1, "character"),
    ("[" * 5000, 1, "nested"),
    # plain values
    ("geo: US,EU", 1, "'US,EU' is no geography"),
    ("geo: [EU,\n  Europe]", 2, "'Europe' is no geography"),
    ("geo: [EU, eu]", 1, "names 'eu' twice"),
    ("geo: {EU: 1}", 1, "`geo` of the configuration must be"),
    ("os: beos", 1, "`os` of the configuration is 'beos'"),
    ("os: ''", 1, "`os`"),
    ("profile: some", 1, "`profile` of the configuration is 'some'"),
    ("lists: []", 1, "nothing would stay open"),
    ("lists: [streamlined, streamlined]", 1, "twice"),
    ("lists:\n  - streamlind", 2, "'streamlind' is neither a shipped list"),
    ("lists: ['']", 1, "neither a shipped list"),
    ('lists: ["a\\u202eb"]', 1, "cannot be shown"),
    # resolvers
    ("resolvers: [127.0.0.53]", 1, "stub on this host"),
    ("resolvers: ['::1']", 1, "stub on this host"),
    ("resolvers: ['fe80::1%eth0']", 1, "zone"),
    ("resolvers: ['::ffff:192.0.2.1']", 1, "IPv4 in IPv6 dress"),
    ("resolvers: [0.0.0.0]", 1, "not the address of one host"),
    ("resolvers: [224.0.0.251]", 1, "not the address of one host"),
    ("resolvers: [255.255.255.255]", 1, "not the address of one host"),
    ("resolvers: [192.0.2.0/24]", 1, "is no IPv4 or IPv6 address"),
    ("resolvers: [dns.example]", 1, "is no IPv4 or IPv6 address"),
    ("resolvers: [192.0.2.1, 192.0.2.1]", 1, "twice"),
    # control channel
    ("control_channel: {host: a.example, port: 1}", 1, "must be a list"),
    ("control_channel:\n- {host: a.example}", 2, "port is missing"),
    ("control_channel:\n- {port: 443}", 2, "either `host` or `address`"),
    ("control_channel: [{host: a.example, address: 192.0.2.1, port: 1}]", 1, "either `host` or `address`"),
    ("control_channel: [{host: '*.a.example', port: 1}]", 1, "is not a host name"),
    ("control_channel: [{host: 192.0.2.1, port: 1}]", 1, "is not a host name"),
    ("control_channel: [{address: a.example, port: 1}]", 1, "is no IPv4 or IPv6 address"),
    ("control_channel: [{host: a.example, port: 0}]", 1, "0 is no port"),
    ("control_channel: [{host: a.example, port: 65536}]", 1, "65536 is no port"),
    ("control_channel: [{host: a.example, port: 0x1bb}]", 1, "whole number"),
    ("control_channel: [{host: a.example, port: -1}]", 1, "whole number"),
    ("control_channel: [{host: a.example, port: '443'}]", 1, "whole number"),
    ("control_channel:\n- {host: a.example, port: 1}\n- {host: A.example., port: 1}", 3, "twice"),
    ("control_channel: [443]", 1, "must be a mapping"),
    ("proxies:\n- {address: 127.0.0.1, port: 3128}", 2, "this host itself"),
    ("proxies:\n- {address: 192.0.2.8, port: 53}", 2, "where resolvers are asked"),
    (
        "proxies:\n- {address: 192.0.2.8, port: 3128}\n- {address: 192.0.2.8, port: 3128}",
        3,
        "192.0.2.8:3128 twice",
    ),
    (
        "control_channel:\n- {address: 192.0.2.8, port: 3128}\nproxies:\n- {address: 192.0.2.8, port: 3128}",
        4,
        "cannot be a proxy as well",
    ),
    ("proxies:\n- {address: proxy.example, port: 3128}", 2, "is no IPv4 or IPv6 address"),
    # exclusions
    ("exclusions: [{direction: out, remote: a.example}]", 1, "needs `name`"),
    ("exclusions: [{name: x, remote: a.example}]", 1, "needs `direction`"),
    ("exclusions: [{name: x, direction: out}]", 1, "needs `remote`"),
    ("exclusions: [{name: x, direction: both, remote: a.example}]", 1, "known are out, in"),
    ("exclusions: [{name: x, direction: out, remote: a.example, protocol: icmp}]", 1, "known are tcp, udp"),
    ("exclusions: [{name: x, direction: out, remote: 0.0.0.0/0}]", 1, "opens every address"),
    ("exclusions: [{name: x, direction: out, remote: '::/0'}]", 1, "opens every address"),
    ("exclusions: [{name: x, direction: out, remote: 192.0.2.1/24}]", 1, "is 192.0.2.0/24 meant"),
    ("exclusions: [{name: x, direction: out, remote: '*'}]", 1, "opens every name"),
    ("exclusions: [{name: x, direction: out, remote: '*.com'}]", 1, "too broad"),
    ("exclusions: [{name: x, direction: out, remote: 'a*.com'}]", 1, "too broad"),
    ("exclusions: [{name: x, direction: out, remote: 'https://a.example'}]", 1, "scheme or path"),
    ("exclusions: [{name: x, direction: out, remote: a.example/b}]", 1, "scheme or path"),
    ("exclusions: [{name: x, direction: in, remote: a.example}]", 1, "a caller shows no name"),
    ("exclusions: [{name: x, direction: in, remote: 192.0.2.1, process: {uid: 0}}]", 1, "outgoing"),
    (
        "exclusions: [{name: x, direction: out, remote: 192.0.2.1, process: {uid: 4294967295}}]",
        1,
        "no user id",
    ),
    (
        "exclusions: [{name: x, direction: out, remote: 192.0.2.1, process: {user: no such}}]",
        1,
        "has no user",
    ),
    ("exclusions: [{name: x, direction: out, remote: 192.0.2.1, process: {cgroup: a}}]", 1, "not supported"),
    ("exclusions: [{name: x, direction: out, remote: 192.0.2.1, process: {}}]", 1, "either `uid` or `user`"),
    ("exclusions: [{name: x, direction: out, remote: 192.0.2.1, process: root}]", 1, "must be a mapping"),
    ("exclusions: [{name: 'a/b', direction: out, remote: 192.0.2.1}]", 1, "is no name"),
    ("exclusions:\n- &a {name: X, direction: out, remote: 192.0.2.1}\n- *a", 3, "alias"),
    (TWICE, 3, "the exclusion 'x' appears twice"),
    # learn
    ("learn: {ttl_floor_s: 90, ttl_ceiling_s: 30}", 1, "floor of 90 s is above the ceiling of 30 s"),
    ("learn:\n  ttl_ceiling_s: 30", 2, "floor of 60 s is above the ceiling of 30 s"),
    ("learn: {ttl_floor_s: 0}", 1, "must be 1 to"),
    ("learn: {ttl_ceiling_s: 604801}", 1, "must be 1 to"),
    ("learn: {ttl_floor_s: 1.5}", 1, "whole number"),
    ("learn: {ttl_floor_s: .inf}", 1, "whole number"),
    ("learn: {private_answers: [10.0.0.1/8]}", 1, "bits right of its prefix"),
    ("learn: {private_answers: [0.0.0.0/0]}", 1, "opens every address"),
    # notify
    ('notify: {command: "say \'hi"}', 1, "quote that is not closed"),
    ("notify: {command: 'cat | mail root'}", 1, "no shell runs it"),
    ("notify: {command: 'a; b'}", 1, "no shell runs it"),
    ("notify: {command: ''}", 1, "command is empty"),
    ("notify: {command: []}", 1, "command is empty"),
    ("notify: {command: ['']}", 1, "command is empty"),
    ("notify: {command: bin/told}", 1, "absolute path or a plain name"),
    ("notify: {command: [1, [2]]}", 1, "must be text"),
    (f"notify: {{contact: {'x' * 201}}}", 1, "at most 200"),
    ('notify: {contact: "a\\e[31m"}', 1, "cannot be shown"),
    # controller
    ("controller: {ca: x}", 1, "needs `url`"),
    ("controller: {url: 'http://c.example'}", 1, "never travel in the clear"),
    ("controller: {url: 'https:///x'}", 1, "https://HOST"),
    ("controller: {url: 'https://u:p@c.example'}", 1, "must not carry a user"),
    ("controller: {url: 'https://c.example?x=1'}", 1, "must not carry"),
    ("controller: {url: 'https://c.example:99999'}", 1, "is no URL"),
]


@pytest.mark.parametrize(("text", "line", "reason"), BAD, ids=[each[0][:60] for each in BAD])
def test_refused_with_file_line_and_reason(tmp_path: Path, text: str, line: int, reason: str) -> None:
    path = write(tmp_path, text)
    sentence = refusal(path)
    assert sentence.startswith(f"{path}:{line}: ")
    assert reason in sentence


def test_too_large_is_refused_before_it_is_parsed(tmp_path: Path) -> None:
    assert "longer than" in refusal(write(tmp_path, "#" * (MAX_BYTES + 1)))


def test_other_encodings_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path, b"geo: [EU]\nnotify: {contact: caf\xe9}\n")
    assert refusal(path) == f"{path}:2: the configuration is not UTF-8 text"


def test_a_directory_and_a_pipe_are_refused_at_once(tmp_path: Path) -> None:
    assert "Is a directory" in refusal(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    assert "no regular file" in refusal(tmp_path / "pipe")


def test_a_name_with_nul_is_refused(tmp_path: Path) -> None:
    assert "cannot be read" in refusal(tmp_path / "a\0b")
    with pytest.raises(IsolatorError, match="cannot be read"):
        load_config(tmp_path / "a\0b")


def test_what_others_can_write_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "geo: [EU]")
    path.chmod(0o602)
    assert "can be written by others" in refusal(path)


@pytest.mark.skipif(os.geteuid() != 0, reason="no_permission: only root can give a file away")
def test_what_belongs_to_somebody_else_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "geo: [EU]")
    os.chown(path, 0, 65534)
    path.chmod(0o660)
    assert "can be written by others" in refusal(path)
    os.chown(path, 65534, 0)
    path.chmod(0o600)
    assert "belongs to user 65534" in refusal(path)
