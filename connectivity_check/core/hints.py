"""What to change, one sentence or two for the network team, with the names and addresses of the case."""

from __future__ import annotations

from connectivity_check.failure import Failure
from connectivity_check.model import Blocker, Target

_HINTS = {
    Failure.DNS_NXDOMAIN: (
        "Resolver {by} says that {host} does not exist: look for a response policy (RPZ) entry, "
        "or a missing forwarder for its zone."
    ),
    Failure.DNS_NODATA: (
        "Resolver {by} knows {host} but gives no address: look for a response policy (nodata), or "
        "a split zone that lacks the record."
    ),
    Failure.DNS_REFUSED: "Resolver {by} refuses to answer for {host}: look at its access list and policy.",
    Failure.DNS_SERVFAIL: "Resolver {by} fails on {host}: look at its upstream and at DNSSEC validation.",
    Failure.DNS_TIMEOUT: (
        "Nothing answers for {host} at resolver {by}: permit udp/53 and tcp/53 to it, or look at "
        "the forwarder of this zone."
    ),
    Failure.DNS_SINKHOLE: "The resolver sends {host} to nowhere: allow the name in the DNS filter.",
    Failure.DNS_PRIVATE_ANSWER: (
        "{host} resolves to a private address: exempt it from rebind protection, or correct the "
        "private zone, unless a Private Link is meant."
    ),
    Failure.DNS_INCONSISTENT: (
        "Resolver {by} gives addresses for {host} that are not the service's: remove the forged "
        "or outdated zone entry."
    ),
    Failure.DNS_INJECTED: (
        "Something between here and the resolver answers DNS questions for {host} in its place: "
        "exempt the name in the inline DNS filter."
    ),
    Failure.DNS_NX_REWRITE: (
        "The resolver answers names that do not exist: turn the rewriting off, or use another resolver."
    ),
    Failure.DNS_LOCAL_OVERRIDE: (
        "This device's own hosts file (or name policy) sends {host} elsewhere: remove the entry."
    ),
    Failure.DNS_PROXY_ONLY: "Nothing to change: the name does not resolve here, but the proxy resolves it.",
    Failure.TCP_DROPPED: "Permit outgoing tcp/{port} to {pattern}{after}.",
    Failure.TCP_RESET_MIDDLEBOX: (
        "A box on the way{at} resets connections to {host}: change its rule from reject/reset to "
        "permit for tcp/{port} to {pattern}."
    ),
    Failure.TCP_REFUSED_HOST: (
        "The address of {host} itself refuses tcp/{port}: nothing listens there; check the "
        "address, the port, or the service's status. No firewall change helps."
    ),
    Failure.TCP_ICMP_ADMIN: "The rule on {by} that prohibits tcp/{port} to {pattern} has to permit it.",
    Failure.TCP_ICMP_PORT: (
        "{by} rejects tcp/{port} to {pattern} (ICMP port unreachable, the default of a REJECT "
        "rule): permit it there."
    ),
    Failure.TCP_NO_ROUTE: (
        "There is no route to {host}{at}: this is routing, not policy; check the default route "
        "and the way back."
    ),
    Failure.TCP_LOCAL_BLOCK: (
        "This device's own firewall or security software forbids tcp/{port} to {host}: permit it there."
    ),
    Failure.TCP_FAKE_ACCEPT: (
        "A transparent proxy or access gateway accepts connections to any address and then says "
        "nothing: permit {pattern} in its policy."
    ),
    Failure.TCP_RATE_LIMITED: (
        "Connections work alone, not many at a time: raise the new-connection limit of the "
        "firewall or IPS for this source."
    ),
    Failure.IP_V6_BROKEN: (
        "IPv6 to {host} does not work, IPv4 does: repair the IPv6 route, or stop handing out AAAA "
        "records (the service does not support IPv6-only networks)."
    ),
    Failure.IP_PMTU_HOLE: (
        "Big packets to {host} vanish: permit ICMP type 3 code 4 and ICMPv6 type 2, or clamp the "
        "MSS on the tunnel."
    ),
    Failure.NET_SLOW: "The way to {host} works, but slowly: look at shaping, inspection load and loss.",
    Failure.PROXY_UNRESOLVED: (
        "The proxy's own name does not resolve: correct the proxy address or add the record."
    ),
    Failure.PROXY_UNREACHABLE: (
        "The proxy {by} cannot be connected to: check its address, port and the way to it."
    ),
    Failure.PROXY_NOT_PROXY: "What answers at {by} is not a proxy of this kind: check the port and scheme.",
    Failure.PROXY_TIMEOUT: (
        "{by} takes connections and answers no request in time: look at its load, its resolver and the way"
        " out behind it, and check that its port is a proxy's. A longer --timeout shows whether it is slow."
    ),
    Failure.PROXY_AUTH: (
        "Exempt {pattern} from authentication on {by}: the service runs as SYSTEM and cannot authenticate."
    ),
    Failure.PROXY_DENIED: "Add {pattern} to an allowed category on {by}.",
    Failure.PROXY_PORT_DENIED: "Permit CONNECT to port {port} on {by}, for {pattern}.",
    Failure.PROXY_DNS: "{by} cannot resolve {host}: look at the proxy's own resolver.",
    Failure.PROXY_UPSTREAM_TIMEOUT: (
        "{by} gets no answer from {host}: open tcp/{port} on the firewall behind the proxy."
    ),
    Failure.PROXY_UPSTREAM_REFUSED: (
        "{by} is refused by {host}: look for a rejecting rule on the firewall behind the proxy."
    ),
    Failure.PROXY_UPSTREAM_UNREACHABLE: (
        "{by} has no way to {host}: routing or a rejecting rule behind the proxy."
    ),
    Failure.PROXY_TUNNEL_CUT: (
        "{by} opens the tunnel and cuts it after the server name: allow {pattern} in its TLS "
        "policy (or in the one behind it), without inspection."
    ),
    Failure.PROXY_PAC_ERROR: (
        "The PAC file gives no usable way to {host}: correct the file or the server that hands it out."
    ),
    Failure.PROXY_PAC_MISMATCH: (
        "The PAC file sends {host} the wrong way: change its rule, the other way works."
    ),
    Failure.PROXY_CONSUMER_CONFLICT: (
        "The proxies configured for sensor, antivirus, update and user differ: align them (table "
        "in the report)."
    ),
    Failure.PROXY_SOCKS: "The SOCKS server {by} refuses {host}: change its rule.",
    Failure.TLS_SNI_RESET: (
        "A filter reads the server name and resets: allow {pattern} in the SNI, application or URL rule{at}."
    ),
    Failure.TLS_SNI_DROP: (
        "A filter reads the server name and drops: allow {pattern} in the SNI, application or URL rule{at}."
    ),
    Failure.TLS_INTERCEPT_UNTRUSTED: (
        "Exempt {pattern} from TLS inspection (CA {name}): the agent does not accept this certificate."
    ),
    Failure.TLS_INTERCEPT_TRUSTED: (
        "Exempt {pattern} from TLS inspection (CA {name}): browsers here accept this CA, the "
        "agent pins its own and does not."
    ),
    Failure.TLS_ISSUER_CHANGED: (
        "The service shows a public CA that this list's data does not know: update the data; no "
        "firewall change is needed."
    ),
    Failure.TLS_STORE_INCOMPLETE: (
        "Install the current root certificates on this device: {host} shows a public CA that its "
        "store does not have."
    ),
    Failure.TLS_EXPIRED: (
        "The certificate for {host} has expired: if it is the service's own, wait for it; if an "
        "inspection box made it, renew it there."
    ),
    Failure.TLS_NOT_YET: (
        "The certificate for {host} is not valid yet: check this device's clock (udp/123 for "
        "NTP), then whoever issued it."
    ),
    Failure.TLS_HOSTNAME: (
        "What answers for {host} shows a certificate for another name: wrong address, a portal, "
        "or a wrong virtual server."
    ),
    Failure.TLS_ALERT: "TLS to {host} ends with an alert: a version, cipher or name policy on the way.",
    Failure.TLS_VERSION_LOW: (
        "A box on the way does not carry TLS 1.2 and 1.3 as the client offers them: update it, or "
        "exempt {pattern}."
    ),
    Failure.TLS_NOT_TLS: (
        "What answers at {host} port {port} does not speak TLS: a block page or a wrong redirect."
    ),
    Failure.REV_CRL: (
        "Open plain http (tcp/80) to {pattern}, without authentication and rewriting: revocation "
        "lists come from there."
    ),
    Failure.REV_OCSP: (
        "Open plain http (tcp/80) to {pattern}, without authentication and rewriting: certificate "
        "status (OCSP) is asked there."
    ),
    Failure.REV_CTL: (
        "Open plain http (tcp/80) to {pattern}, without authentication and rewriting: trusted "
        "roots come from there."
    ),
    Failure.HTTP_BLOCK_PAGE: (
        "{name} shows a block page for {host}: allow {pattern} in its URL or category filter."
    ),
    Failure.HTTP_CAPTIVE_PORTAL: (
        "This network wants a sign-in first: sign in, or exempt the device from the portal."
    ),
    Failure.HTTP_STATUS: "The service itself answers {host} with an unusual status: not a network fault.",
    Failure.HTTP_CUT: (
        "The connection to {host} is cut when the request names it: allow {pattern} in the URL or "
        "application rule."
    ),
    Failure.HTTP_METHOD_OR_SIZE: (
        "Small requests to {host} pass, big bodies or ranges do not: lift the body limit (DLP) "
        "and let Range through."
    ),
    Failure.HTTP_VERSION: "Nothing to change: HTTP/2 is stripped on the way.",
    Failure.HTTP_HEADER_TAMPER: (
        "A transparent proxy changes headers of plain http: exempt the listed hosts."
    ),
    Failure.CLOCK_SKEW: "This device's clock is wrong: permit udp/123 to a time server and set it.",
    Failure.META_NOT_TESTABLE: "Check the rule by eye: {pattern} has no known host to try.",
    Failure.META_SERVICE_DOWN: "{host} fails from elsewhere too: wait, no firewall change helps.",
    Failure.META_FLAKY: (
        "Some tries or addresses of {host} fail: look for loss, uneven paths or per-address "
        "rules; the failing addresses are in the evidence."
    ),
    Failure.META_UNEXPLAINED: (
        "It failed, and nothing else passed to compare with: check the cable, the resolver and "
        "the default route, then run again."
    ),
    Failure.META_INTERRUPTED: "Not finished: run again, with a longer --deadline if need be.",
}


def hint(failure: Failure, target: Target, blocker: Blocker) -> str:
    """Give the sentence for a code; what is not known is left out of it."""
    by = blocker.address or "(unknown)"
    return _HINTS[failure].format(
        host=target.host or target.pattern,
        pattern=_rule(target),
        port=target.port,
        by=by,
        at=f" (at {blocker.address})" if blocker.address else "",
        after=f" on {blocker.address} or the next box behind it" if blocker.address else "",
        name=blocker.name or "unknown",
    )


def _rule(target: Target) -> str:
    """Give what a rule has to name: a rule cannot see paths inside TLS."""
    return target.pattern.partition("/")[0] if target.tls else target.pattern
