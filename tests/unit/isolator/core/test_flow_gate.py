"""The flow gate, packet by packet: what is held, passed, marked and reset."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from isolator.core.flow_gate import FlowGate
from isolator.core.flow_table import FlowLimits
from isolator.core.name_check import FlowPolicy
from isolator.model.segment import Reset
from isolator.model.verdict import Reason, Verdict
from tests.corpus import hellos
from tests.corpus.hellos import ech, hello
from tests.unit.isolator.core.flow_world import (
    FIRST,
    OTHER,
    PROXY,
    SHARED,
    T0,
    Client,
    gate,
    learn,
    learned,
)
from tests.unit.isolator.core.test_name_check import POLICY

HELLO = hello("www.listed.test")
GET = b"GET / HTTP/1.1\r\nHost: www.listed.test\r\n\r\n"
CRL = b"GET /pki/a.crl HTTP/1.1\r\nHost: crl.listed.test\r\n\r\n"
CONNECT = b"CONNECT www.listed.test:443 HTTP/1.1\r\nHost: www.listed.test:443\r\n\r\n"
EVIL = GET.replace(b"www.listed.test", b"evil.test")


@pytest.mark.parametrize(
    ("data", "server", "reason", "entry"),
    [
        (HELLO, SHARED, Reason.TLS_NAME_ALLOWED, "l#1"),
        (hello("WWW.LISTED.TEST.", ech()), SHARED, Reason.TLS_NAME_ALLOWED, "l#1"),
        (hello("b.wild.test"), OTHER, Reason.TLS_NAME_ALLOWED, "l#2"),
        (HELLO, OTHER, Reason.TLS_NAME_ELSEWHERE, "l#1"),
        (hello("a.wild.test"), SHARED, Reason.TLS_NAME_ELSEWHERE, "l#2"),
        (hello("evil.test"), SHARED, Reason.TLS_NAME_NOT_ALLOWED, None),
        (hello("cover.test", ech()), SHARED, Reason.TLS_ECH_REFUSED, None),
        (hello(None), SHARED, Reason.TLS_NAME_MISSING, None),
        (GET, SHARED, Reason.TLS_UNREADABLE, None),
        (b"SSH-2.0-x\r\n", SHARED, Reason.TLS_UNREADABLE, None),
    ],
)
def test_tls(data: bytes, server: object, reason: Reason, entry: str | None) -> None:
    flows, client = gate(), Client(server)  # type: ignore[arg-type]
    client.open(flows)
    ruling = client.say(flows, data)
    allowed = reason is Reason.TLS_NAME_ALLOWED
    assert (ruling.reason, ruling.entry, ruling.mark) == (reason, entry, allowed)
    assert (len(ruling.passed), len(ruling.dropped)) == ((1, 0) if allowed else (0, 1))
    if not allowed:
        sent = (FIRST + 1 + len(data)) % (1 << 32)
        assert ruling.resets == (Reset(client.key, (FIRST + 1) % (1 << 32), 77, sent),)
    assert len(flows.table) == flows.table.held == 0
    assert flows.counts[reason] == 1


@pytest.mark.parametrize(("client_name", "data"), list(hellos.recorded("tls")))
def test_real_clients(client_name: str, data: bytes) -> None:
    flows, client = gate(), Client(SHARED)
    client.open(flows)
    first = client.say(flows, data[:100])
    assert (first.verdict, first.reason) == (Verdict.QUEUE, Reason.FIRST_BYTES_HELD)
    ruling = client.say(flows, data[100:], 100)
    refused = {"openssl_no_name": Reason.TLS_NAME_MISSING, "chromium_ech": Reason.TLS_ECH_REFUSED}
    assert ruling.reason is refused.get(client_name, Reason.TLS_NAME_ALLOWED)
    assert len(ruling.passed or ruling.dropped) == 2


def test_held_packets_go_in_the_order_of_their_bytes() -> None:
    flows, client = gate(), Client(SHARED)
    client.open(flows)
    parts = [client.segment(at, HELLO[at : at + 20]) for at in range(0, len(HELLO), 20)]
    for part in reversed(parts[1:]):
        assert flows.judge(part, T0).verdict is Verdict.QUEUE
    ruling = flows.judge(parts[0], T0)
    assert ruling.mark
    assert ruling.passed == tuple(part.token for part in parts)


def test_retransmissions_while_held_are_dropped() -> None:
    flows, client = gate(), Client(SHARED)
    client.open(flows)
    client.say(flows, HELLO[:30])
    for offset, size in ((0, 30), (10, 5)):
        again = client.segment(offset, HELLO[offset : offset + size])
        ruling = flows.judge(again, T0)
        assert (ruling.verdict, ruling.dropped) == (Verdict.DROP, (again.token,))
    ahead = client.segment(40, HELLO[40:50])
    assert flows.judge(ahead, T0).verdict is Verdict.QUEUE
    assert client.say(flows, HELLO[40:50], 40).reason is Reason.FIRST_BYTES_HELD
    assert flows.table.held == 2
    assert len(client.say(flows, HELLO, 0).passed) == 3


@pytest.mark.parametrize("offset", [0, 20, 45])
def test_other_bytes_at_a_known_place_end_it(offset: int) -> None:
    flows, client = gate(), Client(SHARED)
    client.open(flows)
    client.say(flows, HELLO[:30])
    client.say(flows, HELLO[40:50], 40)
    ruling = client.say(flows, b"\xff\xff", offset)
    assert ruling.reason is Reason.TCP_OVERLAP
    assert len(ruling.dropped) == 3
    assert len(ruling.resets) == 1


def test_outside_the_window_is_dropped() -> None:
    flows, client = gate(), Client(SHARED)
    client.open(flows)
    for offset in (-1, 40_000):
        ruling = client.say(flows, b"xx", offset)
        assert (ruling.verdict, ruling.reason) == (Verdict.DROP, Reason.TCP_OUTSIDE_WINDOW)
    assert client.say(flows, HELLO).mark


class TestHandshake:
    def test_passes_without_a_mark(self) -> None:
        flows, client = gate(), Client(SHARED)
        syn = client.syn()
        ruling = flows.judge(syn, T0)
        assert (ruling.verdict, ruling.reason, ruling.mark) == (Verdict.ACCEPT, Reason.HANDSHAKE, False)
        assert ruling.passed == (syn.token,)
        assert flows.judge(client.syn(), T0).reason is Reason.HANDSHAKE
        assert client.say(flows, HELLO).mark

    def test_syn_with_data_is_dropped(self) -> None:
        """TCP Fast Open: the client comes again without."""
        flows, client = gate(), Client(SHARED)
        ruling = flows.judge(client.segment(-1, HELLO, "syn"), T0)
        assert (ruling.verdict, ruling.reason, ruling.resets) == (Verdict.DROP, Reason.TCP_SYN_DATA, ())
        client.open(flows)
        assert client.say(flows, HELLO).mark

    def test_another_syn_between_the_same_ends_is_refused(self) -> None:
        """The server may still have the first connection, and would not read what is judged by the second."""
        flows, client = gate(), Client(SHARED)
        client.open(flows)
        client.say(flows, HELLO[:10])
        ruling = flows.judge(Client(SHARED, first=5).syn(), T0)
        assert ruling.reason is Reason.TCP_OVERLAP
        assert ruling.resets[0].to_server == (FIRST + 1) % (1 << 32)
        assert len(ruling.dropped) == 2

    def test_an_address_that_was_not_learned(self) -> None:
        client = Client(ip_address("20.7.7.7"))
        ruling = gate().judge(client.syn(), T0)
        assert (ruling.verdict, ruling.reason) == (Verdict.REJECT, Reason.NOT_LISTED)
        assert ruling.resets[0].acknowledged == (FIRST + 1) % (1 << 32)

    def test_a_port_that_was_not_learned(self) -> None:
        assert gate().judge(Client(SHARED, 8443).syn(), T0).reason is Reason.NOT_LISTED

    def test_a_listed_network_is_passed_at_once(self) -> None:
        ruling = gate().judge(Client(ip_address("20.9.1.1")).syn(), T0)
        assert (ruling.mark, ruling.reason, ruling.entry) == (True, Reason.LISTED_NETWORK, "n#1")

    @pytest.mark.parametrize(
        "flags", ["syn ack", "syn fin", "syn rst", "fin rst ack", "ack urg", "", "psh", "fin"]
    )
    def test_impossible_flags(self, flags: str) -> None:
        flows, client = gate(), Client(SHARED)
        client.open(flows)
        ruling = flows.judge(client.segment(0, HELLO, flags), T0)
        assert (ruling.verdict, ruling.reason) == (Verdict.DROP, Reason.TCP_MALFORMED)

    @pytest.mark.parametrize("flags", ["ack", "ack psh", "ack fin"])
    def test_a_connection_whose_beginning_was_not_seen(self, flags: str) -> None:
        ruling = gate().judge(Client(SHARED).segment(500, HELLO, flags), T0)
        assert ruling.reason is Reason.FLOW_UNKNOWN
        assert ruling.resets[0].to_server == (FIRST + 501) % (1 << 32)
        assert ruling.resets[0].to_client == 77

    def test_a_stray_reset_says_nothing(self) -> None:
        ruling = gate().judge(Client(SHARED).segment(0, flags="rst"), T0)
        assert (ruling.verdict, ruling.reason, ruling.resets) == (Verdict.DROP, Reason.FLOW_UNKNOWN, ())

    def test_so_many_bare_segments_and_no_more(self) -> None:
        flows, client = gate(FlowLimits(bare=3)), Client(SHARED)
        client.open(flows)
        bare = [flows.judge(client.segment(0, flags="ack"), T0) for _ in range(3)]
        assert [each.verdict for each in bare] == [Verdict.ACCEPT, Verdict.ACCEPT, Verdict.REJECT]


class TestEnd:
    def test_nothing_said(self) -> None:
        flows, client = gate(), Client(SHARED)
        client.open(flows)
        assert flows.judge(client.segment(0, flags="fin ack"), T0).verdict is Verdict.ACCEPT
        assert flows.judge(client.segment(1, flags="ack"), T0).verdict is Verdict.ACCEPT

    @pytest.mark.parametrize("bare", [True, False])
    def test_in_the_middle_of_a_hello(self, bare: bool) -> None:
        flows, client = gate(), Client(SHARED)
        client.open(flows)
        if bare:
            client.say(flows, HELLO[:20])
        last = client.segment(20 if bare else 0, b"" if bare else HELLO[:20], "fin ack")
        ruling = flows.judge(last, T0)
        assert (ruling.reason, len(ruling.dropped)) == (Reason.FLOW_CUT_SHORT, 2 if bare else 1)

    def test_a_fin_that_overtook_data(self) -> None:
        flows, client = gate(), Client(SHARED)
        client.open(flows)
        fin = client.segment(len(HELLO), flags="fin ack")
        ruling = flows.judge(fin, T0)
        assert (ruling.verdict, ruling.reason) == (Verdict.DROP, Reason.FLOW_CUT_SHORT)
        assert client.say(flows, HELLO).mark

    def test_a_hello_with_fin(self) -> None:
        flows, client = gate(), Client(SHARED)
        client.open(flows)
        assert flows.judge(client.segment(0, HELLO, "fin ack"), T0).mark

    def test_the_client_resets(self) -> None:
        flows, client = gate(), Client(SHARED)
        client.open(flows)
        rst = client.segment(0, flags="rst ack")
        ruling = flows.judge(rst, T0)
        assert (ruling.reason, ruling.passed) == (Reason.FLOW_CLOSED, (rst.token,))
        assert len(flows.table) == 0

    def test_the_client_resets_what_is_held(self) -> None:
        """The server expects an earlier number than the client's RST has: it gets one made here."""
        flows, client = gate(), Client(SHARED)
        client.open(flows)
        client.say(flows, HELLO[:20])
        ruling = flows.judge(client.segment(20, flags="rst ack"), T0)
        assert (ruling.reason, len(ruling.dropped)) == (Reason.FLOW_CLOSED, 2)
        assert ruling.resets[0].to_server == (FIRST + 1) % (1 << 32)

    @pytest.mark.parametrize(("offset", "payload"), [(7, b""), (0, b"data"), (-50, b"")])
    def test_a_reset_that_the_server_would_not_take(self, offset: int, payload: bytes) -> None:
        """Forgetting the connection for it would let the next SYN begin it anew, with other numbers."""
        flows, client = gate(), Client(SHARED)
        client.open(flows)
        ruling = flows.judge(client.segment(offset, payload, "rst"), T0)
        assert (ruling.verdict, ruling.reason) == (Verdict.DROP, Reason.TCP_OUTSIDE_WINDOW)
        assert len(flows.table) == 1


class TestHttp:
    def test_each_request_is_judged_and_nothing_is_marked(self) -> None:
        flows, client = gate(), Client(SHARED, 80)
        client.open(flows)
        first = client.say(flows, GET)
        assert (first.reason, first.mark, len(first.passed)) == (Reason.HTTP_HOST_ALLOWED, False, 1)
        at = len(GET)
        assert flows.judge(client.segment(at, flags="ack"), T0).verdict is Verdict.ACCEPT
        second = client.say(flows, CRL, at)
        assert (second.verdict, second.entry) == (Verdict.ACCEPT, "l#5")
        third = client.say(flows, EVIL, at + len(CRL))
        assert (third.reason, len(third.dropped)) == (Reason.HTTP_HOST_NOT_ALLOWED, 1)
        assert third.resets[0].to_server == (FIRST + 1 + at + len(CRL)) % (1 << 32)

    @pytest.mark.parametrize("cut", range(1, len(GET)))
    def test_a_second_host_in_the_same_segments(self, cut: int) -> None:
        """No byte of the second request goes out, wherever the segments are cut."""
        flows, client = gate(), Client(SHARED, 80)
        client.open(flows)
        data = GET + EVIL
        first, second = (
            client.say(flows, data[: len(GET) + cut]),
            client.say(flows, data[len(GET) + cut :], len(GET) + cut),
        )
        assert first.verdict is Verdict.QUEUE or cut >= len(EVIL)
        rulings = [each for each in (first, second) if each.verdict is Verdict.REJECT]
        assert rulings[0].reason is Reason.HTTP_HOST_NOT_ALLOWED
        assert not first.passed

    def test_a_body_that_looks_like_a_request_is_a_body(self) -> None:
        flows, client = gate(), Client(SHARED, 80)
        client.open(flows)
        head = b"POST / HTTP/1.1\r\nHost: www.listed.test\r\nContent-Length: %d\r\n\r\n" % len(EVIL)
        assert client.say(flows, head).verdict is Verdict.ACCEPT
        assert client.say(flows, EVIL, len(head)).verdict is Verdict.ACCEPT
        assert client.say(flows, EVIL, len(head + EVIL)).reason is Reason.HTTP_HOST_NOT_ALLOWED

    @pytest.mark.parametrize(
        ("data", "reason"),
        [
            (GET.replace(b" / ", b" http://www.listed.test/ "), Reason.HTTP_HOST_ALLOWED),
            (GET.replace(b" / ", b" http://evil.test/ "), Reason.HTTP_UNREADABLE),
            (CRL.replace(b"/pki/", b"/pki/%2e%2e/"), Reason.HTTP_PATH_NOT_ALLOWED),
            (CONNECT, Reason.HTTP_HOST_NOT_ALLOWED),
            (HELLO, Reason.HTTP_UNREADABLE),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Reason.HTTP_UNREADABLE),
            (GET.replace(b"www.listed", b"a.wild"), Reason.HTTP_HOST_NOT_ALLOWED),
        ],
    )
    def test_first_requests(self, data: bytes, reason: Reason) -> None:
        flows, client = gate(), Client(SHARED, 80)
        client.open(flows)
        assert client.say(flows, data).reason is reason

    def test_retransmissions_of_what_went_pass(self) -> None:
        flows, client = gate(), Client(SHARED, 80)
        client.open(flows)
        client.say(flows, GET)
        assert client.say(flows, GET).verdict is Verdict.ACCEPT
        assert client.say(flows, GET[:-4] + b"X-Y:", 0).reason is Reason.TCP_OVERLAP

    def test_what_is_ahead_stays_held(self) -> None:
        flows, client = gate(), Client(SHARED, 80)
        client.open(flows)
        ahead = client.segment(len(GET) + 10, CRL[10:])
        assert flows.judge(ahead, T0).verdict is Verdict.QUEUE
        first = client.say(flows, GET)
        assert ahead.token not in first.passed
        second = client.segment(len(GET), CRL[:10])
        assert flows.judge(second, T0).passed == (second.token, ahead.token)

    def test_outlives_the_answer_that_opened_it(self) -> None:
        names = learned()
        flows, client = gate(names=names), Client(SHARED, 80)
        client.open(flows)
        client.say(flows, GET)
        names.clear()
        assert client.say(flows, GET, len(GET)).verdict is Verdict.ACCEPT

    def test_a_new_policy_counts_at_once(self) -> None:
        names = learned()
        flows, client = gate(names=names), Client(SHARED, 80)
        client.open(flows)
        client.say(flows, GET)
        names.clear()
        flows.replace_policy(FlowPolicy(POLICY.index))
        assert client.say(flows, GET, len(GET)).reason is Reason.HTTP_HOST_ELSEWHERE
        flows.replace_policy(FlowPolicy())
        assert flows.judge(Client(SHARED).syn(), T0).reason is Reason.NOT_LISTED


class TestProxy:
    def test_connect_then_the_tunnel(self) -> None:
        flows, client = gate(), Client(PROXY, 3128)
        client.open(flows)
        first = client.say(flows, CONNECT)
        assert (first.reason, first.mark, len(first.passed)) == (Reason.PROXY_TARGET_ALLOWED, False, 1)
        at = len(CONNECT)
        assert client.say(flows, HELLO[:50], at).verdict is Verdict.QUEUE
        last = client.say(flows, HELLO[50:], at + 50)
        assert (last.reason, last.mark, len(last.passed)) == (Reason.TLS_NAME_ALLOWED, True, 2)

    def test_all_in_one_segment(self) -> None:
        flows, client = gate(), Client(PROXY, 3128)
        client.open(flows)
        assert client.say(flows, CONNECT + HELLO).mark

    def test_authentication_takes_several_requests(self) -> None:
        flows, client = gate(), Client(PROXY, 3128)
        client.open(flows)
        at = 0
        for answer in (
            b"",
            b"Proxy-Authorization: NTLM TlRMTVNTUAAB\r\n",
            b"Proxy-Authorization: NTLM TlRMTVNTUAAD\r\n",
        ):
            data = CONNECT[:-2] + answer + b"\r\n"
            assert client.say(flows, data, at).verdict is Verdict.ACCEPT
            at += len(data)
        assert client.say(flows, HELLO, at).mark

    @pytest.mark.parametrize(
        ("data", "reason"),
        [
            (CONNECT.replace(b"www.listed.test", b"evil.test"), Reason.PROXY_TARGET_NOT_ALLOWED),
            (CONNECT.replace(b":443", b":22"), Reason.PROXY_TARGET_NOT_ALLOWED),
            (GET, Reason.PROXY_REQUEST_REFUSED),
            (GET.replace(b" / ", b" http://www.listed.test/ "), Reason.PROXY_TARGET_ALLOWED),
            (EVIL.replace(b" / ", b" http://evil.test/ "), Reason.PROXY_TARGET_NOT_ALLOWED),
            (HELLO, Reason.HTTP_UNREADABLE),
            (CONNECT + hello("evil.test"), Reason.TLS_NAME_NOT_ALLOWED),
            (CONNECT + hello("a.wild.test"), Reason.TLS_NAME_ELSEWHERE),
            (CONNECT + hello(None), Reason.TLS_NAME_MISSING),
            (CONNECT + CONNECT.replace(b"www.listed.test", b"a.wild.test"), Reason.PROXY_REQUEST_REFUSED),
            (CONNECT + GET.replace(b" / ", b" http://www.listed.test/ "), Reason.PROXY_REQUEST_REFUSED),
            (CONNECT + b"SSH-2.0-x\r\n", Reason.HTTP_UNREADABLE),
            (CONNECT + b"\x16\x03\x01\0\0", Reason.TLS_UNREADABLE),
            (CONNECT[:40], Reason.FIRST_BYTES_HELD),
        ],
    )  # fmt: skip
    def test_what_is_asked_for(self, data: bytes, reason: Reason) -> None:
        flows, client = gate(), Client(PROXY, 3128)
        client.open(flows)
        assert client.say(flows, data).reason is reason

    def test_the_second_request_counts_too(self) -> None:
        flows, client = gate(), Client(PROXY, 3128)
        client.open(flows)
        page = GET.replace(b" / ", b" http://www.listed.test/ ")
        assert client.say(flows, page).verdict is Verdict.ACCEPT
        evil = EVIL.replace(b" / ", b" http://evil.test/ ")
        assert client.say(flows, evil, len(page)).reason is Reason.PROXY_TARGET_NOT_ALLOWED

    def test_real_clients(self) -> None:
        for name, data in hellos.recorded("http"):
            if b"CONNECT" not in data and b" http://" not in data:
                continue
            flows, client = gate(), Client(PROXY, 3128)
            client.open(flows)
            assert client.say(flows, data).reason is Reason.PROXY_TARGET_ALLOWED, name


class TestBounds:
    def test_time(self) -> None:
        flows = gate(FlowLimits(silent_s=30, hold_s=10, idle_s=300))
        slow, silent, page = Client(SHARED), Client(SHARED, own_port=2), Client(SHARED, 80)
        for client in (slow, silent, page):
            client.open(flows)
        slow.say(flows, HELLO[:9])
        page.say(flows, GET)
        assert flows.expire(T0 + 9.9) is None
        ruling = flows.expire(T0 + 10)
        assert ruling is not None
        assert (len(ruling.dropped), [each.flow for each in ruling.resets]) == (1, [slow.key])
        assert slow.say(flows, HELLO[9:], 9).reason is Reason.FLOW_UNKNOWN
        ruling = flows.expire(T0 + 30)
        assert ruling is not None
        assert [each.flow for each in ruling.resets] == [silent.key]
        flows.judge(page.segment(len(GET), flags="ack"), T0 + 299)
        assert flows.expire(T0 + 598) is None
        ruling = flows.expire(T0 + 599)
        assert ruling is not None
        assert [each.flow for each in ruling.resets] == [page.key]
        assert flows.counts[Reason.FLOW_TIMED_OUT] == 3

    def test_a_client_whose_bytes_are_held_is_told_that_they_have_arrived(self) -> None:
        flows, client = gate(FlowLimits(patience_s=0.02)), Client(SHARED)
        other = Client(SHARED, own_port=2)
        client.open(flows)
        client.say(flows, HELLO[:20])
        client.say(flows, HELLO[30:40], 30)  # ahead: not acknowledged, the bytes in front of it are missing
        assert flows.encourage(T0 + 0.01) == ()
        (told,) = flows.encourage(T0 + 0.02)
        assert (told.flow, told.to_client) == (client.key, client.segment(0).acknowledgement)
        assert told.acknowledged == (client.segment(20).sequence)
        assert flows.encourage(T0 + 1) == ()
        client.say(flows, HELLO[20:30], 20)
        (told,) = flows.encourage(T0 + 1)
        assert told.acknowledged == client.segment(40).sequence
        last = client.say(flows, HELLO[40:], 40)
        assert (last.mark, len(last.passed)) == (True, 4)
        assert set(last.again) == set(last.passed[:3])  # the client will not send these again
        other.open(flows)
        other.say(flows, HELLO)
        assert flows.encourage(T0 + 2) == ()

    def test_a_long_upload_may_send_again_what_was_lost(self) -> None:
        flows, client = gate(), Client(SHARED, 80)
        client.open(flows)
        head = GET.replace(b"GET", b"POST").replace(b"\r\n\r\n", b"\r\nContent-Length: 300000\r\n\r\n")
        client.say(flows, head)
        body = bytes(1000)
        for at in range(200):
            assert client.say(flows, body, len(head) + 1000 * at).verdict is Verdict.ACCEPT
        assert client.say(flows, body, len(head)).passed
        assert client.say(flows, b"x" * 1000, len(head)).reason is Reason.TCP_OVERLAP
        assert flows.table.kept_bytes == 0

    def test_what_is_remembered_of_all_together_has_a_bound(self) -> None:
        flows = gate(FlowLimits(kept_bytes=3 * len(GET) - 1))
        clients = [Client(SHARED, 80, own_port=own) for own in range(1, 4)]
        for client in clients:
            client.open(flows)
            client.say(flows, GET)
        assert flows.table.get(clients[0].key) is None
        assert flows.table.get(clients[2].key) is not None
        assert flows.table.kept_bytes == 2 * len(GET)

    def test_a_hello_byte_by_byte_has_no_more_time(self) -> None:
        flows, client = gate(), Client(SHARED)
        client.open(flows)
        for at in range(9):
            client.say(flows, HELLO[at : at + 1], at, T0 + at)
        assert flows.expire(T0 + 10) is not None

    def test_half_open_flood_does_not_push_out_a_client_that_speaks(self) -> None:
        flows, client = gate(FlowLimits(opening=10)), Client(SHARED)
        client.open(flows)
        for port in range(9):
            flows.judge(Client(SHARED, own_port=port).syn(), T0)
        assert client.say(flows, HELLO).mark
        rulings = [flows.judge(Client(SHARED, own_port=port).syn(), T0) for port in range(100, 200)]
        assert len(flows.table) == 10
        assert {each.verdict for each in rulings} == {Verdict.ACCEPT}
        assert sum(len(each.resets) for each in rulings) == 99
        assert flows.counts[Reason.FLOW_TABLE_FULL] == 99

    def test_slow_hellos_shed_the_oldest(self) -> None:
        flows = gate(FlowLimits(held=5))
        clients = [Client(SHARED, own_port=port) for port in range(8)]
        for client in clients:
            client.open(flows)
        rulings = [client.say(flows, HELLO[:9]) for client in clients]
        assert [[each.flow for each in ruling.resets] for ruling in rulings[5:]] == [
            [clients[at].key] for at in range(3)
        ]
        assert (flows.table.held, flows.table.held_bytes) == (5, 45)
        assert clients[7].say(flows, HELLO[9:], 9).mark

    def test_bytes_held_are_bounded(self) -> None:
        flows, client = gate(FlowLimits(held_bytes=100)), Client(SHARED)
        client.open(flows)
        big = hello("www.listed.test", (51, bytes(2_000)))
        held = client.segment(0, big[:101])
        ruling = flows.judge(held, T0)
        assert (ruling.verdict, ruling.dropped) == (Verdict.QUEUE, (held.token,)), (
            "it was to be held and is given up"
        )

    def test_the_least_used_connection_goes(self) -> None:
        flows = gate(FlowLimits(talking=2))
        one, two, three = (Client(SHARED, 80, own_port=port) for port in (1, 2, 3))
        for client in (one, two, three):
            client.open(flows)
        one.say(flows, GET)
        two.say(flows, GET)
        one.say(flows, GET, len(GET))
        assert [each.flow for each in three.say(flows, GET).resets] == [two.key]

    def test_a_flood_of_unlisted_names_opens_nothing(self) -> None:
        flows = gate()
        for port in range(300):
            client = Client(SHARED, own_port=port)
            client.open(flows)
            assert not client.say(flows, hello(f"x{port}.evil.test")).passed
        assert len(flows.table) == flows.table.held == flows.table.held_bytes == 0


def test_an_answer_that_expired_since_the_connection_was_opened() -> None:
    names = learned()
    learn(names, "www.listed.test", ip_address("20.1.2.9"), ttl=60)
    flows, client = gate(names=names), Client(ip_address("20.1.2.9"))
    client.open(flows, T0 + 64)
    assert client.say(flows, HELLO, now=T0 + 70).mark
    assert flows.judge(Client(ip_address("20.1.2.9"), own_port=5).syn(), T0 + 70).reason is Reason.NOT_LISTED


def test_the_default_gate_opens_nothing() -> None:
    from isolator.core.names import LearnedNames
    from tests.unit.isolator.core.flow_world import READERS

    assert FlowGate(LearnedNames(), READERS).judge(Client(SHARED).syn(), T0).reason is Reason.NOT_LISTED


def test_a_proxy_inside_a_listed_network_is_judged() -> None:
    inside = ip_address("20.9.1.1")
    flows = gate()
    flows.replace_policy(FlowPolicy(POLICY.index, POLICY.networks, frozenset({(inside, 443)})))
    client = Client(inside)
    client.open(flows)
    assert client.say(flows, HELLO).reason is Reason.HTTP_UNREADABLE


def test_an_entry_at_which_something_else_is_spoken() -> None:
    """Only where the address was learned for that very entry, and at its port."""
    flows = gate()
    flows.replace_policy(FlowPolicy(POLICY.index, unchecked={443: ("l#2",)}))
    ruling = flows.judge(Client(OTHER).syn(), T0)
    assert (ruling.mark, ruling.reason, ruling.entry) == (True, Reason.EXCLUSION, "l#2")
    assert not flows.judge(Client(SHARED).syn(), T0).mark
    assert not flows.judge(Client(SHARED, 80).syn(), T0).mark
    assert flows.judge(Client(ip_address("20.7.7.7")).syn(), T0).reason is Reason.NOT_LISTED
