"""The codes of the preflight: every cause it can name, and how bad each one is.

A code is `layer.code`. The codes are stable: reports, playbooks and tickets hold them. They are what the
analysis *infers*; what a step *saw* is a `Seen`, in the words of the OONI data format df-007.
"""

from __future__ import annotations

from enum import StrEnum


class Layer(StrEnum):
    """Where on the way a cause sits, in the order in which a connection meets them."""

    DNS = "dns"
    TCP = "tcp"
    IP = "ip"
    NET = "net"
    PROXY = "proxy"
    TLS = "tls"
    REVOCATION = "rev"
    HTTP = "http"
    CLOCK = "clock"
    META = "meta"


class Severity(StrEnum):
    """What a finding means for the row it stands on."""

    BLOCKING = "blocking"
    """The agent cannot use the endpoint."""
    WARNING = "warning"
    """The endpoint works, but slower, later or less safely than it should; `--strict` makes it exit 1."""
    INFO = "info"
    """Worth knowing, nothing to change."""
    UNKNOWN = "unknown"
    """Nothing can be said about the endpoint, neither that it works nor that somebody blocks it."""


class Failure(StrEnum):
    """A cause, as `layer.code`."""

    DNS_NXDOMAIN = "dns.nxdomain"
    DNS_NODATA = "dns.nodata"
    DNS_REFUSED = "dns.refused"
    DNS_SERVFAIL = "dns.servfail"
    DNS_TIMEOUT = "dns.timeout"
    DNS_SINKHOLE = "dns.sinkhole"
    DNS_PRIVATE_ANSWER = "dns.private_answer"
    DNS_INCONSISTENT = "dns.inconsistent"
    DNS_INJECTED = "dns.injected"
    DNS_NX_REWRITE = "dns.nx_rewrite"
    DNS_LOCAL_OVERRIDE = "dns.local_override"
    DNS_PROXY_ONLY = "dns.proxy_only"

    TCP_DROPPED = "tcp.dropped"
    TCP_RESET_MIDDLEBOX = "tcp.reset_middlebox"
    TCP_REFUSED_HOST = "tcp.refused_host"
    TCP_ICMP_ADMIN = "tcp.icmp_admin"
    TCP_ICMP_PORT = "tcp.icmp_port"
    TCP_NO_ROUTE = "tcp.no_route"
    TCP_LOCAL_BLOCK = "tcp.local_block"
    TCP_FAKE_ACCEPT = "tcp.fake_accept"
    TCP_RATE_LIMITED = "tcp.rate_limited"

    IP_V6_BROKEN = "ip.v6_broken"
    IP_PMTU_HOLE = "ip.pmtu_hole"
    NET_SLOW = "net.slow"

    PROXY_UNRESOLVED = "proxy.unresolved"
    PROXY_UNREACHABLE = "proxy.unreachable"
    PROXY_NOT_PROXY = "proxy.not_proxy"
    PROXY_TIMEOUT = "proxy.timeout"
    """It takes connections and answers nobody in time: too slow, stuck, or no proxy at all."""
    PROXY_AUTH = "proxy.auth"
    PROXY_DENIED = "proxy.denied"
    PROXY_PORT_DENIED = "proxy.port_denied"
    PROXY_DNS = "proxy.dns"
    PROXY_UPSTREAM_TIMEOUT = "proxy.upstream_timeout"
    PROXY_UPSTREAM_REFUSED = "proxy.upstream_refused"
    PROXY_UPSTREAM_UNREACHABLE = "proxy.upstream_unreachable"
    PROXY_TUNNEL_CUT = "proxy.tunnel_cut"
    PROXY_PAC_ERROR = "proxy.pac_error"
    PROXY_PAC_MISMATCH = "proxy.pac_mismatch"
    PROXY_CONSUMER_CONFLICT = "proxy.consumer_conflict"
    PROXY_SOCKS = "proxy.socks"

    TLS_SNI_RESET = "tls.sni_reset"
    TLS_SNI_DROP = "tls.sni_drop"
    TLS_INTERCEPT_UNTRUSTED = "tls.intercept_untrusted"
    TLS_INTERCEPT_TRUSTED = "tls.intercept_trusted"
    TLS_ISSUER_CHANGED = "tls.issuer_changed"
    TLS_STORE_INCOMPLETE = "tls.store_incomplete"
    """A public CA signed, and this device's own store does not have it."""
    TLS_EXPIRED = "tls.expired"
    TLS_NOT_YET = "tls.not_yet"
    TLS_HOSTNAME = "tls.hostname"
    TLS_ALERT = "tls.alert"
    TLS_VERSION_LOW = "tls.version_low"
    TLS_NOT_TLS = "tls.not_tls"

    REV_CRL = "rev.crl"
    REV_OCSP = "rev.ocsp"
    REV_CTL = "rev.ctl"

    HTTP_BLOCK_PAGE = "http.block_page"
    HTTP_CAPTIVE_PORTAL = "http.captive_portal"
    HTTP_STATUS = "http.status"
    HTTP_CUT = "http.cut"
    """Connected, and the request is cut off or never answered, while another name gets an answer."""
    HTTP_METHOD_OR_SIZE = "http.method_or_size"
    HTTP_VERSION = "http.version"
    HTTP_HEADER_TAMPER = "http.header_tamper"

    CLOCK_SKEW = "clock.skew"

    META_NOT_TESTABLE = "meta.not_testable"
    META_SERVICE_DOWN = "meta.service_down"
    META_FLAKY = "meta.flaky"
    META_UNEXPLAINED = "meta.unexplained"
    """It failed, and without a control that passed nobody can say who is at fault."""
    META_INTERRUPTED = "meta.interrupted"
    """Not finished: the run was stopped (Ctrl-C) or its deadline came first."""

    @property
    def layer(self) -> Layer:
        """The part before the dot."""
        return Layer(self.value.partition(".")[0])

    @property
    def severity(self) -> Severity:
        """How bad it is for the row; BLOCKING unless the table below says otherwise."""
        return _SEVERITIES.get(self, Severity.BLOCKING)


_SEVERITIES = {
    Failure.DNS_PROXY_ONLY: Severity.INFO,
    Failure.DNS_LOCAL_OVERRIDE: Severity.WARNING,
    Failure.DNS_NX_REWRITE: Severity.WARNING,
    Failure.DNS_INJECTED: Severity.WARNING,
    Failure.IP_V6_BROKEN: Severity.WARNING,
    Failure.NET_SLOW: Severity.WARNING,
    Failure.PROXY_CONSUMER_CONFLICT: Severity.WARNING,
    Failure.TLS_ISSUER_CHANGED: Severity.WARNING,
    Failure.TLS_STORE_INCOMPLETE: Severity.WARNING,
    Failure.HTTP_STATUS: Severity.WARNING,
    Failure.HTTP_VERSION: Severity.INFO,
    Failure.HTTP_HEADER_TAMPER: Severity.WARNING,
    Failure.CLOCK_SKEW: Severity.WARNING,
    Failure.META_FLAKY: Severity.WARNING,
    Failure.META_NOT_TESTABLE: Severity.UNKNOWN,
    Failure.META_UNEXPLAINED: Severity.UNKNOWN,
    Failure.META_INTERRUPTED: Severity.UNKNOWN,
}


class Seen(StrEnum):
    """What one step saw when it failed, without a guess at the reason.

    Names of OONI df-007 where it has one (github.com/ooni/spec, data-formats/df-007-errors.md).
    """

    TIMEOUT = "generic_timeout_error"
    CONNECTION_REFUSED = "connection_refused"
    CONNECTION_RESET = "connection_reset"
    HOST_UNREACHABLE = "host_unreachable"
    NETWORK_UNREACHABLE = "network_unreachable"
    PERMISSION_DENIED = "permission_denied"
    """EPERM or EACCES at once: this device's own filter."""
    EOF = "eof_error"
    """The connection was closed in an orderly way where bytes were due."""
    OTHER = "unknown_failure"

    DNS_NXDOMAIN = "dns_nxdomain_error"
    DNS_NO_ANSWER = "dns_no_answer"
    DNS_REFUSED = "dns_refused_error"
    DNS_SERVFAIL = "dns_servfail_error"
    DNS_BOGON = "dns_bogon_error"

    PROXY_STATUS = "proxy_status"
    """The proxy answered CONNECT with a status that is not 2xx."""
    PROXY_PROTOCOL = "proxy_protocol_error"
    """What answered is not a proxy of this kind."""
    SOCKS_REPLY = "socks_reply"
    """A SOCKS reply code other than 0 (RFC 1928 section 6), or no acceptable method."""

    TLS_HANDSHAKE = "ssl_failed_handshake"
    TLS_ALERT = "ssl_alert_received"
    TLS_UNKNOWN_AUTHORITY = "ssl_unknown_authority"
    TLS_INVALID_HOSTNAME = "ssl_invalid_hostname"
    TLS_INVALID_CERTIFICATE = "ssl_invalid_certificate"
    NOT_TLS = "not_tls"

    HTTP_PROTOCOL = "http_protocol_error"
    HTTP_STATUS = "http_unexpected_status_code"
    HTTP_CONTENT = "http_unexpected_content"
    """The body is not what this endpoint answers (HTML for an API, say)."""
    REVOCATION_CONTENT = "revocation_content_error"
    """The bytes are not a CRL, an OCSP answer or a trust list, or they are out of date."""

    INTERRUPTED = "interrupted"
