"""Requests that the honest floor and secguard judge alike: those they let pass, and those they refuse."""

from __future__ import annotations

from tests.benchmarks.apps import PATH
from tests.benchmarks.traffic import BROWSER, BROWSER_LINES, Line, Traffic


def requesting(*more: Line, path: str = PATH, without: bytes = b"", scheme: str = "https") -> Traffic:
    return Traffic(path, (*(line for line in BROWSER_LINES if line[0] != without), *more), scheme)


def naming(host: bytes) -> Traffic:
    return requesting((b"host", host), without=b"host")


def posting(*more: Line) -> Traffic:
    lines = [line for line in BROWSER_LINES if line[0] != b"sec-fetch-site"]
    return Traffic(PATH, (*lines, *more), method="POST")


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
}
POSTED = {
    "a form of ours": posting((b"sec-fetch-site", b"same-origin"), (b"origin", b"https://www.example.com")),
    "a form sent again": posting((b"sec-fetch-site", b"none")),
    "a form of ours, in an old browser": posting((b"origin", b"https://www.example.com")),
    "no browser": posting(),
}
