"""Sites good and bad, each named after what is peculiar about it, for our rules and for MDN's own code."""

from collections.abc import Collection, Mapping
from random import Random
from typing import Final

from tests.judges.observatory import Site
from tests.judges.observatory.site import ORIGIN

HTML: Final = ("Content-Type", "text/html; charset=utf-8")

HSTS: Final = "max-age=31536000"
SELF: Final = "default-src 'self'"
NONE: Final = "default-src 'none'"


def headers(page: str = "", **values: str) -> Site:
    """A page with these headers, underscores for hyphens."""
    return Site([HTML, *((name.replace("_", "-"), value) for name, value in values.items())], page)


def csp(policy: str) -> Site:
    return headers(content_security_policy=policy)


def cookies(*lines: str, hsts: str = "") -> Site:
    own = [("Strict-Transport-Security", hsts)] if hsts else []
    return Site([HTML, *own, *(("Set-Cookie", line) for line in lines)])


def cors(**values: str) -> Site:
    return Site([HTML], cors=[(f"access-control-allow-{name}", value) for name, value in values.items()])


def route(*steps: str) -> Site:
    return Site([HTML], route=steps)


def page(html: str, *route: str, kind: str = "text/html") -> Site:
    own = [("Content-Type", kind)] if kind else []
    return Site(own, page=html, route=route) if route else Site(own, page=html)


SITES: Final[Mapping[str, Site]] = {
    "bare": Site([HTML]),
    "nothing that is read": headers(server="uvicorn", permissions_policy="camera=()"),

    "csp: empty": csp(""),
    "csp: separators only": csp("; ; ; ; ;"),
    "csp: too short": csp("a b"),
    "csp: nothing but none": csp(NONE),
    "csp: none, in capitals": csp("DEFAULT-SRC 'NONE'"),
    "csp: none and something": csp("default-src 'none' https://a.example"),
    "csp: self": csp(SELF),
    "csp: without default-src": csp("script-src 'self'; object-src 'none'"),
    "csp: without script-src": csp("object-src 'none'; style-src 'self'"),
    "csp: without object-src": csp("script-src 'self'; style-src 'self'"),
    "csp: without style-src": csp("script-src 'self'; object-src 'none'; img-src 'self'"),
    "csp: frame-ancestors only": csp("frame-ancestors 'none'"),
    "csp: twice the same directive": csp(f"{NONE}; script-src 'self'; script-src 'self'"),
    "csp: report-uri twice": csp(f"{NONE}; report-uri /a; report-uri /b"),
    "csp: report-uri twice, and unsafe": csp("script-src *; report-uri /a; report-uri /b"),
    "csp: empty parts": csp(f"{NONE};; script-src 'self'; "),
    "csp: a directive without sources": csp("default-src; upgrade-insecure-requests"),
    "csp: inline scripts": csp(f"{NONE}; script-src 'self' 'unsafe-inline'"),
    "csp: inline scripts beside a nonce": csp(f"{NONE}; script-src 'unsafe-inline' 'nonce-abcdefgh'"),
    "csp: inline scripts beside a hash": csp(f"{NONE}; script-src 'unsafe-inline' 'sha256-abcdefgh'"),
    "csp: inline everything": csp("default-src 'self' 'unsafe-inline'"),
    "csp: inline styles": csp(f"{NONE}; style-src 'self' 'unsafe-inline'"),
    "csp: inline styles beside a nonce": csp(f"{NONE}; style-src 'unsafe-inline' 'nonce-abcdefgh'"),
    "csp: styles from everywhere": csp(f"{NONE}; style-src https:"),
    "csp: styles from data": csp(f"{NONE}; style-src data:"),
    "csp: scripts from data": csp(f"{NONE}; script-src data:"),
    "csp: scripts from everywhere": csp(f"{NONE}; script-src *"),
    "csp: scripts from every https": csp(f"{NONE}; script-src https:"),
    "csp: scripts from a host": csp(f"{NONE}; script-src https://a.example"),
    "csp: scripts from a host on http": csp(f"{NONE}; script-src http://a.example"),
    "csp: objects from everywhere": csp(f"{NONE}; object-src *"),
    "csp: frames over http": csp(f"{NONE}; frame-src http://a.example"),
    "csp: reports over http": csp(f"{NONE}; report-uri http://a.example"),
    "csp: eval in scripts": csp(f"{NONE}; script-src 'self' 'unsafe-eval'"),
    "csp: eval in styles": csp(f"{NONE}; style-src 'self' 'unsafe-eval'"),
    "csp: images over http": csp(f"{NONE}; img-src http:"),
    "csp: media over ftp": csp(f"{NONE}; media-src ftp://a.example"),
    "csp: images from data and blob": csp(f"{NONE}; img-src 'self' data: blob:"),
    "csp: strict-dynamic alone": csp(f"{NONE}; script-src 'strict-dynamic'; frame-ancestors 'none'"),
    "csp: strict-dynamic with a nonce": csp(f"{NONE}; script-src 'nonce-abcdefgh' 'strict-dynamic'"),
    "csp: strict-dynamic with its fallbacks": csp(
        f"{NONE}; script-src 'nonce-abcdefgh' 'strict-dynamic' 'self' 'unsafe-inline' https: http:"
    ),
    "csp: strict-dynamic by default": csp("default-src 'nonce-abcdefgh' 'strict-dynamic' https:"),
    "csp: strict-dynamic with eval": csp(f"{NONE}; script-src 'nonce-abcdefgh' 'strict-dynamic' 'unsafe-eval'"),
    "csp: report only": headers(content_security_policy_report_only=SELF),
    "csp: both": headers(content_security_policy=NONE, content_security_policy_report_only=SELF),
    "csp: two lines": Site([HTML, ("Content-Security-Policy", SELF), ("Content-Security-Policy", NONE)]),

    "cookies: as they should be": cookies("sessionid=1; Secure; HttpOnly; SameSite=Lax"),
    "cookies: host only": cookies("__Host-Http-session=1; Path=/; Secure; HttpOnly; SameSite=Lax"),
    "cookies: host only, but not secure": cookies("__Host-session=1; Path=/; HttpOnly"),
    "cookies: host only, but for a path": cookies("__Host-session=1; Path=/a; Secure"),
    "cookies: host only, without a path": cookies("__Host-session=1; Secure"),
    "cookies: secure by name, but not secure": cookies("__Secure-a=1; Path=/"),
    "cookies: secure by name": cookies("__Secure-a=1; Path=/; Secure; SameSite=Strict"),
    "cookies: without SameSite": cookies("a=1; Secure; HttpOnly"),
    "cookies: one without SameSite": cookies("a=1; Secure; SameSite=Lax", "b=1; Secure"),
    "cookies: for all sites": cookies("a=1; Secure; SameSite=None"),
    "cookies: for all sites, not secure": cookies("a=1; SameSite=None"),
    "cookies: SameSite unknown": cookies("a=1; Secure; SameSite=Always"),
    "cookies: SameSite empty": cookies("a=1; Secure; SameSite"),
    "cookies: not secure": cookies("a=1; SameSite=Lax"),
    "cookies: not secure, under HSTS": cookies("a=1; SameSite=Lax", hsts=HSTS),
    "cookies: not secure, under short HSTS": cookies("a=1; SameSite=Lax", hsts="max-age=60"),
    "cookies: session not secure": cookies("PHPSESSID=1; HttpOnly"),
    "cookies: session not secure, under HSTS": cookies("PHPSESSID=1; HttpOnly", hsts=HSTS),
    "cookies: session for scripts": cookies("session=1; Secure; SameSite=Lax"),
    "cookies: login for scripts": cookies("is_login=1; Secure; SameSite=Lax"),
    "cookies: csrf without SameSite": cookies("csrftoken=1; Secure"),
    "cookies: csrf with SameSite": cookies("XSRF-TOKEN=1; Secure; SameSite=Lax", "_csrf=1; Secure; SameSite=Strict"),
    "cookies: the worst of three": cookies("a=1", "csrf=1; Secure", "sess=1; Secure; SameSite=Lax"),

    "cookies: not secure, under HSTS that is built in": Site(
        [HTML, ("Set-Cookie", "a=1; SameSite=Lax")], host="preloaded.example", preloaded=True
    ),

    "cors: for all": cors(origin="*"),
    "cors: for one": cors(origin="https://a.example"),
    "cors: mirrored": cors(origin=ORIGIN),
    "cors: mirrored, with credentials": cors(origin=ORIGIN, credentials="true"),
    "cors: for one, with credentials": cors(origin="https://a.example", credentials="true"),

    "route: nobody there": Site([HTML], route=()),
    "route: stays on http": route("http://example.com/"),
    "route: elsewhere on http": route("http://example.com/", "http://www.example.com/"),
    "route: http first": route("http://example.com/", "http://www.example.com/", "https://www.example.com/"),
    "route: another host first": route("http://example.com/", "https://www.example.com/"),
    "route: another host second": route("http://example.com/", "https://example.com/", "https://www.example.com/"),

    "referrer: none": headers(referrer_policy="no-referrer"),
    "referrer: the browser's default": headers(referrer_policy="strict-origin-when-cross-origin"),
    "referrer: with a fallback": headers(referrer_policy="no-referrer, strict-origin-when-cross-origin"),
    "referrer: good, then bad": headers(referrer_policy="same-origin, unsafe-url"),
    "referrer: good, then unknown": headers(referrer_policy="strict-origin, whatever"),
    "referrer: origin": headers(referrer_policy="Origin"),
    "referrer: unknown": headers(referrer_policy="whatever"),
    "referrer: empty": headers(referrer_policy=""),

    "hsts: a year": headers(strict_transport_security=HSTS),
    "hsts: subdomains": headers(strict_transport_security="max-age=63072000; includeSubDomains; preload"),
    "hsts: 180 days": headers(strict_transport_security="max-age=15552000"),
    "hsts: a day less": headers(strict_transport_security="max-age=15465600"),
    "hsts: withdrawn": headers(strict_transport_security="max-age=0"),
    "hsts: negative": headers(strict_transport_security="max-age=-1"),
    "hsts: quoted": headers(strict_transport_security='max-age="31536000"'),
    "hsts: twice in one": headers(strict_transport_security="max-age=60; max-age=31536000"),
    "hsts: without an age": headers(strict_transport_security="includeSubDomains"),
    "hsts: two lines": Site([HTML, *[("Strict-Transport-Security", HSTS)] * 2]),
    "hsts: built in": Site([HTML], host="preloaded.example", preloaded=True),
    "hsts: built in, all the way": Site(
        [HTML], host="preloaded.example", preloaded=True, route=("http://preloaded.example/", "https://preloaded.example/")
    ),

    "scripts: no page": page(""),
    "scripts: inline": page("<p><script>1</script>"),
    "scripts: own": page('<script src="/a.js"></script>'),
    "scripts: own, hashed": page('<script src="/a.js" integrity="sha384-x"></script>'),
    "scripts: own, one hashed": page('<script src="a.js"></script><SCRIPT SRC="b.js" INTEGRITY="sha384-x"></SCRIPT>'),
    "scripts: own, in full": page('<script src="https://example.com/a.js"></script>'),
    "scripts: foreign": page('<script src="https://cdn.example/a.js"></script>'),
    "scripts: foreign, hashed": page('<script src="https://cdn.example/a.js" integrity="sha384-x"></script>'),
    "scripts: foreign and own, hashed": page(
        '<script src="https://cdn.example/a.js" integrity="x"></script><script src="/a.js" integrity="x"></script>'
    ),
    "scripts: foreign, over http": page('<script src="http://cdn.example/a.js"></script>'),
    "scripts: foreign, over http, hashed": page('<script src="http://cdn.example/a.js" integrity="x"></script>'),
    "scripts: two bad ones": page(
        '<script src="http://cdn.example/a.js" integrity="x"></script><script src="https://cdn.example/b.js"></script>'
    ),
    "scripts: another subdomain": page('<script src="https://cdn.example.com/a.js"></script>'),
    "scripts: without a scheme": page('<script src="//cdn.example/a.js"></script>'),
    "scripts: without a scheme, hashed": page('<script src="//cdn.example/a.js" integrity="x"></script>'),
    "scripts: without a scheme, on http": page('<script src="//cdn.example/a.js"></script>', "http://example.com/"),
    "scripts: without a scheme, nobody on http": Site([HTML], '<script src="//cdn.example/a.js"></script>', route=()),
    "scripts: own, without a scheme": page('<script src="//example.com/a.js" integrity="x"></script>'),
    "scripts: own, without a scheme, on http": page(
        '<script src="//example.com/a.js" integrity="x"></script>', "http://example.com/"
    ),
    "scripts: in JSON": page('"<script src=http://cdn.example/a.js>"', kind="application/json"),
    "scripts: in what is not said": page('<script src="http://cdn.example/a.js"></script>', kind=""),

    "nosniff: said": headers(x_content_type_options="nosniff"),
    "nosniff: in capitals": headers(x_content_type_options=" NoSniff"),
    "nosniff: twice": Site([HTML, *[("X-Content-Type-Options", "nosniff")] * 2]),
    "nosniff: wrong": headers(x_content_type_options="sniff"),

    "frames: denied": headers(x_frame_options="DENY"),
    "frames: same origin": headers(x_frame_options="sameorigin"),
    "frames: from one": headers(x_frame_options="ALLOW-FROM https://a.example"),
    "frames: wrong": headers(x_frame_options="ALLOWALL"),
    "frames: twice": Site([HTML, ("X-Frame-Options", "DENY"), ("X-Frame-Options", "SAMEORIGIN")]),
    "frames: by csp": headers(x_frame_options="whatever", content_security_policy="frame-ancestors *"),
    "frames: by a broken csp": headers(content_security_policy="frame-ancestors 'none'; img-src *; img-src *"),

    "corp: same origin": headers(cross_origin_resource_policy="same-origin"),
    "corp: same site": headers(cross_origin_resource_policy=" Same-Site "),
    "corp: cross origin": headers(cross_origin_resource_policy="cross-origin"),
    "corp: wrong": headers(cross_origin_resource_policy="same"),

    "just enough for extra credit": headers(
        content_security_policy="default-src 'none'; frame-ancestors 'none'",
        strict_transport_security="max-age=60",
        x_content_type_options="nosniff",
    ),
    "just too little for extra credit": headers(
        content_security_policy="default-src 'none'; frame-ancestors 'none'",
        strict_transport_security="max-age=60",
    ),

    # Two that MDN's own tests keep (test/fixtures and test/scanner.test.js), cut to what is read of them.
    "observatory.mozilla.org": headers(
        '<script>try {}</script><script src="/static/client/index.js" type="module"></script>',
        content_security_policy=(
            "default-src 'self'; script-src 'report-sample' 'self' 'wasm-unsafe-eval' https://*.googletagmanager.com "
            "'sha256-XNBp89FG76amD8BqrJzyflxOF9PaWPqPqvJfKZPCv7M='; style-src 'report-sample' 'self' 'unsafe-inline'; "
            "object-src 'none'; base-uri 'self'; img-src 'self' data: *.githubusercontent.com; media-src 'self'"
        ),
        referrer_policy="strict-origin-when-cross-origin",
        strict_transport_security="max-age=63072000",
        x_content_type_options="nosniff",
        x_frame_options="DENY",
    ),
    "mozilla.org": headers(
        '<script src="https://transcend-cdn.com/airgap.js"></script>',
        content_security_policy=(
            "script-src 'self' 'unsafe-eval' 'unsafe-inline' www.mozilla.org; style-src 'self' 'unsafe-inline'; "
            "default-src 'self' *.mozilla.org; frame-ancestors 'none'; upgrade-insecure-requests; object-src 'none'"
        ),
        cross_origin_opener_policy="same-origin",
        referrer_policy="strict-origin-when-cross-origin",
        strict_transport_security=HSTS,
        x_content_type_options="nosniff",
        x_frame_options="DENY",
    ),

    "helmet 8": headers(
        content_security_policy=(
            "default-src 'self';base-uri 'self';font-src 'self' https: data:;form-action 'self';frame-ancestors 'self';"
            "img-src 'self' data:;object-src 'none';script-src 'self';script-src-attr 'none';"
            "style-src 'self' https: 'unsafe-inline';upgrade-insecure-requests"
        ),
        cross_origin_opener_policy="same-origin",
        cross_origin_resource_policy="same-origin",
        referrer_policy="no-referrer",
        strict_transport_security="max-age=31536000; includeSubDomains",
        x_content_type_options="nosniff",
        x_frame_options="SAMEORIGIN",
    ),
    "Django, with HSTS": headers(
        cross_origin_opener_policy="same-origin",
        referrer_policy="same-origin",
        strict_transport_security="max-age=31536000",
        x_content_type_options="nosniff",
        x_frame_options="DENY",
    ),
}  # fmt: skip


def combined(draw: Random, *, but: Collection[str] = ()) -> Site:
    """A site with one peculiarity of each kind, or none of it."""
    kinds: dict[str, list[Site]] = {}
    for name, site in SITES.items():
        if ":" in name and not site.preloaded and name not in but:
            kinds.setdefault(name.partition(":")[0], []).append(site)
    drawn = {kind: draw.choice([Site([HTML]), *sites]) for kind, sites in kinds.items()}
    script = drawn["scripts"]
    others = [line for site in drawn.values() if site is not script for line in site.headers if line != HTML]
    return Site([*script.headers, *others], script.page, cors=drawn["cors"].cors, route=drawn["route"].route)
