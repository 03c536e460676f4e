"""Requests that the honest floor and secguard judge alike: those they let pass, and those they refuse."""

from __future__ import annotations

from tests.benchmarks.apps import PATH
from tests.benchmarks.traffic import BROWSER, BROWSER_LINES, Line, Traffic

NAMED: Line = (b"origin", b"https://app.example.com")  # in the cors section
STRANGE: Line = (b"origin", b"https://evil.com")


def requesting(
    *more: Line, path: str = PATH, without: bytes = b"", scheme: str = "https", method: str = "GET"
) -> Traffic:
    return Traffic(path, (*(line for line in BROWSER_LINES if line[0] != without), *more), scheme, method=method)


def naming(host: bytes) -> Traffic:
    return requesting((b"host", host), without=b"host")


def posting(*more: Line) -> Traffic:
    lines = [line for line in BROWSER_LINES if line[0] != b"sec-fetch-site"]
    return Traffic(PATH, (*lines, *more), method="POST")


def asking(method: bytes, *more: Line, origin: Line = NAMED) -> Traffic:
    """Make a preflight."""
    return requesting(origin, (b"access-control-request-method", method), *more, method="OPTIONS")


def for_headers(names: bytes) -> Line:
    return b"access-control-request-headers", names


ADMITTED = {
    "a browser": BROWSER,
    "over plain http": requesting(scheme="http"),
    "the apex": naming(b"example.com"),
    "a deep subdomain, a port, letter case": naming(b"a.b.EXAMPLE.com:8443"),
    "a trailing dot": naming(b"www.example.com."),
    "two cookies": requesting((b"cookie", b"a=1")),
    "a length": requesting((b"content-length", b"0")),
    "a length with zeros": requesting((b"content-length", b"0" * 30 + b"9")),
    "the largest length": requesting((b"content-length", b"10485760")),
    "chunks": requesting((b"transfer-encoding", b"chunked")),
    "a page that may read": requesting(NAMED),
    "a page that may read, over plain http": requesting(NAMED, scheme="http"),
    "a page that may not read": requesting(STRANGE),
    "a page that may read, in capitals": requesting((b"origin", b"https://APP.example.com")),
    "a page of nobody in particular": requesting((b"origin", b"null")),
    "no network that is denied": Traffic(client="192.0.3.1"),
    "no IPv6 network that is denied": Traffic(client="2001:db8:bae::1"),
    "a mapped address": Traffic(client="::ffff:203.0.113.9"),
    "a zone": Traffic(client="fe80::1%eth0"),
    "a zone beside IPv4": Traffic(client="203.0.113.9%eth0"),
    "a long zone": Traffic(client="fe80::1%" + "x" * 99),
    "100 lines": requesting(*[(b"x-%d" % number, b"") for number in range(100 - len(BROWSER_LINES))]),
}
REFUSED = {
    "two hosts": requesting((b"host", b"www.example.com")),
    "two origins": requesting((b"origin", b"https://a.example"), (b"origin", b"https://b.example")),
    "two lengths": requesting((b"content-length", b"1"), (b"content-length", b"2")),
    "two types": requesting((b"content-type", b"a/b"), (b"content-type", b"c/d")),
    "two Sec-Fetch-Site": requesting((b"sec-fetch-site", b"same-origin")),
    "two Sec-Fetch-Anything": requesting((b"sec-fetch-storage", b"a"), (b"sec-fetch-storage", b"b")),
    "length and chunks": requesting((b"content-length", b"1"), (b"transfer-encoding", b"chunked")),
    "no host": requesting(without=b"host"),
    "an empty host": naming(b""),
    "a host with a path": naming(b"www.example.com/evil?@x:99"),
    "a host with a user": naming(b"evil@example.com"),
    "a host with a blank": naming(b"www.example.com evil"),
    "a port of letters": naming(b"www.example.com:x"),
    "port 0": naming(b"www.example.com:0"),
    "port 65536": naming(b"www.example.com:65536"),
    "two dots": naming(b"www..example.com"),
    "not an IPv6 address": naming(b"[:::]"),
    "another host": naming(b"evil.com"),
    "a host that ends alike": naming(b"evilexample.com"),
    "an address": naming(b"192.0.2.1"),
    "an IPv6 address": naming(b"[2001:db8::1]:8443"),
    "no slash": requesting(path="admin"),
    "no path": requesting(path=""),
    "an absolute-form target": requesting(path="http://evil/admin"),
    "an asterisk": requesting(path="*"),
    "two slashes": requesting(path="//admin"),
    "an empty segment": requesting(path="/a//b"),
    "an empty segment, encoded": requesting(path="/a/%2fb"),
    "a dot segment": requesting(path="/a/./b"),
    "a dot segment at the end": requesting(path="/a/.."),
    "a dot segment, encoded": requesting(path="/a/%2e%2E/b"),
    "a dot segment before a parameter": requesting(path="/a/..;/b"),
    "NUL": requesting(path="/a\0"),
    "NUL, encoded": requesting(path="/a%00"),
    "a control byte": requesting(path="/a\x9fb"),
    "a backslash": requesting(path="/a\\b"),
    "a backslash, encoded": requesting(path="/a%5cb"),
    "not UTF-8": requesting(path="/a\N{REPLACEMENT CHARACTER}"),
    "101 lines": requesting(*[(b"x-%d" % number, b"") for number in range(101 - len(BROWSER_LINES))]),
    "too many bytes": requesting((b"x-big", b"x" * 65536)),
    "too many bytes in many lines": requesting(*[(b"accept", b"x" * 1024)] * 64),
    "a length too large": requesting((b"content-length", b"10485761")),
    "a length without an end": requesting((b"content-length", b"9" * 999)),
    "a length below nothing": requesting((b"content-length", b"-1")),
    "no length": requesting((b"content-length", b"")),
    "an unheard-of method": Traffic(method="BREW"),
    "a method that echoes": Traffic(method="TRACE"),
    "a form of another site": posting((b"sec-fetch-site", b"cross-site"), (b"origin", b"https://evil.com")),
    "a form of a sibling": posting((b"sec-fetch-site", b"same-site"), (b"origin", b"https://example.com")),
    "a form of another site, in an old browser": posting((b"origin", b"https://evil.com")),
    "a form of the plain http twin, in an old browser": posting((b"origin", b"http://www.example.com")),
    "a form of nobody in particular, in an old browser": posting((b"origin", b"null")),
    "a form of the plain http twin of the page that may read": posting((b"origin", b"http://app.example.com")),
    "too many lines of a page that may read": requesting(NAMED, *[(b"x-%d" % number, b"") for number in range(101)]),
    "a path of a page that may read": requesting(NAMED, path="//admin"),
    "a host of a page that may read": requesting(NAMED, (b"host", b"evil.com"), without=b"host"),
    "a method of a page that may read": requesting(NAMED, method="BREW"),
    "a length of a page that may read": requesting(NAMED, (b"content-length", b"-1")),
    "a denied client": Traffic(client="192.0.2.7"),
    "a denied client, mapped": Traffic(client="::ffff:192.0.2.7"),
    "a denied client, mapped, with a zone": Traffic(client="::ffff:192.0.2.7%eth0"),
    "a denied client, IPv6": Traffic(client="2001:db8:bad:1::7"),
    "a denied client, IPv6, with a zone": Traffic(client="2001:DB8:BAD::7%eth0"),
    "a denied client, for a page that may read": Traffic(PATH, (*BROWSER_LINES, NAMED), client="192.0.2.7"),
    "a denied client that asks for another host": Traffic(PATH, ((b"host", b"evil.com"),), client="192.0.2.7"),
    "a denied client that acts from elsewhere": Traffic(PATH, posting(STRANGE).lines, "https", "192.0.2.7", "POST"),
    "a client without an address": Traffic(client=None),
    "a client with an empty address": Traffic(client=""),
    "a client with a name": Traffic(client="testclient"),
    "a client on a unix socket": Traffic(client="unix:/run/app.sock"),
    "a client with a long address": Traffic(client="0" * 46),
    "a preflight of a page that may not read": asking(b"GET", origin=STRANGE),
    "a preflight of nobody in particular": asking(b"GET", origin=(b"origin", b"null")),
    "a preflight of an origin with a quote and a byte": asking(b"GET", origin=(b"origin", b'https://"\xff\x01')),
    "a preflight for a method": asking(b"PUT"),
    "a preflight for a method in lower case": asking(b"delete"),
    "a preflight for no method": asking(b""),
    "a preflight for two methods": asking(b"GET", (b"access-control-request-method", b"POST")),
    "a preflight for headers": asking(b"GET", for_headers(b"x-token,x-other, X-Third")),
    "a preflight for headers in two lines": asking(b"GET", for_headers(b"x-token"), for_headers(b"x-other,x-token")),
    "a preflight for no names of headers": asking(b"GET", for_headers(b"x-token,x token")),
    "a preflight for too many headers": asking(b"GET", for_headers(b"x-token," * 513)),
    "a preflight for everything": asking(b"PUT", for_headers(b"x-other"), origin=STRANGE),
    "a preflight from the own site, it says": requesting(
        STRANGE,
        (b"access-control-request-method", b"GET"),
        (b"sec-fetch-site", b"same-origin"),
        without=b"sec-fetch-site",
        method="OPTIONS",
    ),
    "a preflight to a bad path": Traffic("//", asking(b"GET").lines, method="OPTIONS"),
}
PREFLIGHTS = {
    "for a method": asking(b"DELETE"),
    "over plain http": Traffic(PATH, asking(b"GET").lines, "http", method="OPTIONS"),
    "for headers": asking(b"POST", for_headers(b"content-type,x-token")),
    "for headers in capitals, with blanks": asking(b"POST", for_headers(b"X-Token ,\tAccept")),
    "for headers in two lines": asking(b"POST", for_headers(b"x-token"), for_headers(b"accept,,")),
    "for as many headers as may be": asking(b"POST", for_headers(b"x-token," * 512)),
    "for another host": Traffic(PATH, (*asking(b"GET").lines[1:], (b"host", b"evil.com")), method="OPTIONS"),
    "of a denied client": Traffic(PATH, asking(b"GET").lines, "https", "192.0.2.7", "OPTIONS"),
    "to everything": Traffic("*", asking(b"GET").lines, method="OPTIONS"),
}
POSTED = {
    "a form of ours": posting((b"sec-fetch-site", b"same-origin"), (b"origin", b"https://www.example.com")),
    "a form sent again": posting((b"sec-fetch-site", b"none")),
    "a form of ours, in an old browser": posting((b"origin", b"https://www.example.com")),
    "no browser": posting(),
    "a form of the page that may read": posting((b"sec-fetch-site", b"same-site"), NAMED),
    "a form of the page that may read, in an old browser": posting(NAMED),
    "options of a page that may read": requesting(NAMED, method="OPTIONS"),
    "options for a method, of no origin": requesting((b"access-control-request-method", b"GET"), method="OPTIONS"),
}
