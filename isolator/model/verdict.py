"""What happens to a packet, and the reason that is counted, logged and shown."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum


class Verdict(Enum):
    """The answer the kernel gets for one packet."""

    ACCEPT = "accept"
    DROP = "drop"
    REJECT = "reject"
    QUEUE = "queue"


class Reason(Enum):
    """Why; each value is also the name of a kernel counter or of a gate counter.

    Names are stable once released: `status --json` shows them as keys.
    """

    NOT_ISOLATED = "not_isolated"
    LOOPBACK = "loopback"
    CONTROL_CHANNEL = "control_channel"
    LEARNED_ADDRESS = "learned_address"
    ESTABLISHED_FLOW = "established_flow"
    LISTED_NETWORK = "listed_network"
    PROXY = "proxy"
    EXCLUSION = "exclusion"
    DNS_APPROVED = "dns_approved"
    DHCP_RENEWAL = "dhcp_renewal"
    NEIGHBOUR_DISCOVERY = "neighbour_discovery"
    PATH_MTU = "path_mtu"
    DNS_NAME_ALLOWED = "dns_name_allowed"
    DNS_ANSWER_LEARNED = "dns_answer_learned"
    DNS_ANSWER_EMPTY = "dns_answer_empty"
    NOT_LISTED = "not_listed"
    INBOUND_NOT_LISTED = "inbound_not_listed"
    FORWARDED = "forwarded"
    FRAGMENT = "fragment"
    IP_OPTIONS = "ip_options"
    """Options of IPv4, or extension headers of IPv6."""
    DNS_UNJUDGED = "dns_unjudged"
    DNS_NAME_NOT_ALLOWED = "dns_name_not_allowed"
    DNS_UNREADABLE = "dns_unreadable"
    DNS_NOT_A_QUERY = "dns_not_a_query"
    DNS_UNASKED_ANSWER = "dns_unasked_answer"
    DNS_TYPE_NOT_ALLOWED = "dns_type_not_allowed"
    DNS_TYPE_WITHHELD = "dns_type_withheld"
    DNS_TOO_MANY_NAMES = "dns_too_many_names"
    DNS_REBINDING = "dns_rebinding"
    DNS_TABLE_FULL = "dns_table_full"
    DNS_LABEL_PAYLOAD = "dns_label_payload"
    """An alert: the names asked for under one wildcard carry more bytes than service names do."""
    FIRST_BYTES_HELD = "first_bytes_held"
    HANDSHAKE = "handshake"
    TLS_NAME_ALLOWED = "tls_name_allowed"
    TLS_NAME_MISSING = "tls_name_missing"
    TLS_NAME_NOT_ALLOWED = "tls_name_not_allowed"
    TLS_NAME_ELSEWHERE = "tls_name_elsewhere"
    """The name is allowed, but the address was learned for other entries only."""
    TLS_ECH_REFUSED = "tls_ech_refused"
    TLS_UNREADABLE = "tls_unreadable"
    HTTP_HOST_ALLOWED = "http_host_allowed"
    HTTP_HOST_NOT_ALLOWED = "http_host_not_allowed"
    HTTP_HOST_ELSEWHERE = "http_host_elsewhere"
    HTTP_PATH_NOT_ALLOWED = "http_path_not_allowed"
    HTTP_UNREADABLE = "http_unreadable"
    PROXY_TARGET_ALLOWED = "proxy_target_allowed"
    PROXY_TARGET_NOT_ALLOWED = "proxy_target_not_allowed"
    PROXY_REQUEST_REFUSED = "proxy_request_refused"
    TCP_OVERLAP = "tcp_overlap"
    TCP_SYN_DATA = "tcp_syn_data"
    TCP_MALFORMED = "tcp_malformed"
    TCP_OUTSIDE_WINDOW = "tcp_outside_window"
    FLOW_UNKNOWN = "flow_unknown"
    FLOW_CLOSED = "flow_closed"
    FLOW_CUT_SHORT = "flow_cut_short"
    FLOW_TIMED_OUT = "flow_timed_out"
    FLOW_TABLE_FULL = "flow_table_full"
    FLOW_UNJUDGED = "flow_unjudged"
    """To an address that needs a listed server name, and nobody has judged the connection."""
    QUIC_REFUSED = "quic_refused"
    """UDP 443: its hello cannot be held to a name, so that clients take TCP."""
    RESOLVER_NOT_APPROVED = "resolver_not_approved"
    GATE_ERROR = "gate_error"


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do with one packet, and the reason that is counted, logged and shown."""

    verdict: Verdict
    reason: Reason
    entry: str | None = None
    """Id of the allow-list entry that matched ("list_id#n"), when one did."""
    said: str | None = field(default=None, compare=False)
    """What was refused, as it was named on the wire: a host, HOST:PORT at a proxy. None when nothing was
    named or nothing refused. For whoever asks afterwards; no judgement goes by it."""
