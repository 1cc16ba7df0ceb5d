"""What is wrong with bytes that are not the packet or message they should be."""

from __future__ import annotations

from enum import Enum


class Unreadable(Enum):
    """Stable codes, counted by the loop that read the bytes."""

    IP_TRUNCATED = "ip_truncated"
    IP_VERSION = "ip_version"
    IP_HEADER = "ip_header"
    IP_LENGTH = "ip_length"
    IP_FRAGMENT = "ip_fragment"
    IP_CHECKSUM = "ip_checksum"
    IP_OPTIONS = "ip_options"
    IP_HOPS = "ip_hops"
    NOT_UDP = "not_udp"
    UDP_TRUNCATED = "udp_truncated"
    UDP_LENGTH = "udp_length"
    UDP_CHECKSUM = "udp_checksum"
    NOT_TCP = "not_tcp"
    TCP_TRUNCATED = "tcp_truncated"
    TCP_HEADER = "tcp_header"
    TCP_CHECKSUM = "tcp_checksum"
    NOT_ICMP = "not_icmp"
    ICMP_TRUNCATED = "icmp_truncated"
    DNS_TRUNCATED = "dns_truncated"
    DNS_LABEL = "dns_label"
    DNS_POINTER = "dns_pointer"
    DNS_NAME_TOO_LONG = "dns_name_too_long"
    DNS_NAME_WORK = "dns_name_work"
    DNS_RDATA = "dns_rdata"
    DNS_OPT = "dns_opt"
    DNS_FRAME = "dns_frame"
    HOST_NAME = "host_name"
    TLS_NOT_A_HELLO = "tls_not_a_hello"
    TLS_SSLV2 = "tls_sslv2"
    TLS_RECORD = "tls_record"
    TLS_TOO_LONG = "tls_too_long"
    TLS_LENGTHS = "tls_lengths"
    TLS_TWICE = "tls_twice"
    TLS_SERVER_NAME = "tls_server_name"
    TLS_ECH = "tls_ech"
    HTTP_LINE = "http_line"
    HTTP_LINE_END = "http_line_end"
    HTTP_TARGET = "http_target"
    HTTP_VERSION = "http_version"
    HTTP_HEADER = "http_header"
    HTTP_HOST = "http_host"
    HTTP_FRAMING = "http_framing"
    HTTP_CHUNK = "http_chunk"
    HTTP_UPGRADE = "http_upgrade"
    HTTP_TOO_LONG = "http_too_long"


class ParseError(Exception):
    """The bytes are not readable; `kind` says how."""

    def __init__(self, kind: Unreadable) -> None:
        super().__init__(kind.value)
        self.kind = kind
