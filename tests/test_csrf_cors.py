"""Cross-origin protection behind the real CORS policy: whom it names may act, and whom it lets read may load."""

from __future__ import annotations

import pytest

from secguard import Guard
from secguard.cors import CORSPolicy, CORSRule, CORSSettings
from secguard.csrf import CSRFPolicy, CSRFSettings
from secguard.policy import Context
from secguard.settings import Settings
from tests.helpers import EventLog, Line, drive, http_scope, plain, websocket_scope

NAMED, BELOW, STRANGER = b"https://app.example.org", b"https://a.b.example.net", b"https://evil.example"
CORS = CORSSettings(
    allow_origins=["https://app.example.org", "https://*.example.net"],
    allow_origin_regex=r"https://[a-z]+\.test",
    allow_credentials=True,
    rules=[CORSRule(paths=["/assets"], allow_origins=["*"], allow_credentials=False)],
)


def guard(log: EventLog, **csrf: bool) -> Guard:
    context = Context(sinks=(log,))
    return Guard(plain, policies=[CORSPolicy(CORS, context), CSRFPolicy(CSRFSettings(**csrf), context)])


def from_elsewhere(origin: bytes, site: bytes = b"cross-site") -> list[Line]:
    return [(b"origin", origin), (b"sec-fetch-site", site)]


@pytest.mark.parametrize(
    ("path", "origin", "status"),
    [
        pytest.param("/api", NAMED, 200, id="origin that CORS names may act"),
        pytest.param("/api", BELOW, 403, id="origin that matches a pattern may read, and not act"),
        pytest.param(
            "/api", b"https://x.test", 403, id="origin that matches a regular expression may read, and not act"
        ),
        pytest.param("/api", STRANGER, 403, id="stranger may not act"),
        pytest.param("/assets/x", STRANGER, 403, id="stranger may not act where all may read"),
        pytest.param("/assets/x", NAMED, 403, id="name that counts elsewhere counts for nothing where all may read"),
    ],
)
def test_post_from_elsewhere(path: str, origin: bytes, status: int) -> None:
    sent = drive(guard(EventLog()), http_scope(path, from_elsewhere(origin), method="POST"))
    assert sent.status == status


@pytest.mark.parametrize("site", [b"same-site", b"cross-site"])
def test_sibling_that_cors_allows_is_not_refused_by_its_sec_fetch_site(site: bytes) -> None:
    """What is consulted only where Sec-Fetch-Site is absent is never consulted by a browser."""
    sent = drive(guard(EventLog()), http_scope("/api", from_elsewhere(NAMED, site), method="POST"))
    assert sent.status == 200
    assert sent.header(b"access-control-allow-origin") == NAMED


@pytest.mark.parametrize(("origin", "status"), [(NAMED, 101), (BELOW, 403), (STRANGER, 403)])
def test_handshake_from_elsewhere(origin: bytes, status: int) -> None:
    assert drive(guard(EventLog()), websocket_scope("/api", [(b"origin", origin)])).status == status


@pytest.mark.parametrize(
    ("path", "lines", "status"),
    [
        pytest.param("/api", from_elsewhere(BELOW), 200, id="script that CORS lets read"),
        pytest.param("/api", from_elsewhere(STRANGER), 403, id="script of a stranger"),
        pytest.param("/api", [(b"sec-fetch-site", b"cross-site")], 403, id="image on another site"),
        pytest.param("/assets/x", from_elsewhere(STRANGER), 200, id="script of a stranger where all may read"),
        pytest.param(
            "/assets/x", [(b"sec-fetch-site", b"cross-site")], 200, id="image on another site where all may read"
        ),
        pytest.param("/api/assets", [(b"sec-fetch-site", b"cross-site")], 403, id="path that only looks alike"),
    ],
)
def test_isolated_get_from_elsewhere(path: str, lines: list[Line], status: int) -> None:
    assert drive(guard(EventLog(), isolate=True), http_scope(path, lines)).status == status


def test_image_of_everybody_everywhere() -> None:
    context = Context(sinks=())
    policies = [
        CORSPolicy(CORSSettings(allow_origins=["*"]), context),
        CSRFPolicy(CSRFSettings(isolate=True), context),
    ]
    sent = drive(Guard(plain, policies=policies), http_scope("/x", [(b"sec-fetch-site", b"cross-site")]))
    assert sent.status == 200
    assert sent.header(b"cross-origin-resource-policy") == b"cross-origin"


def test_refusal_of_csrf_tells_a_script_that_cors_lets_read_so() -> None:
    sent = drive(guard(EventLog()), http_scope("/api", from_elsewhere(BELOW), method="POST"))
    assert sent.status == 403
    assert sent.header(b"access-control-allow-origin") == BELOW


def test_preflight_is_answered_before_anybody_may_refuse_it() -> None:
    settings = Settings(
        _env_file=None,
        cors={"allow_origins": [NAMED.decode()], "allow_methods": ["DELETE"]},
        hosts={"allowed": ["other.example"]},
        csrf={"isolate": True},
        requests={"methods": ["GET", "DELETE"]},
    )
    asked = [(b"origin", NAMED), (b"access-control-request-method", b"DELETE"), (b"sec-fetch-site", b"cross-site")]
    assert drive(Guard(plain, settings), http_scope("/api", asked, method="OPTIONS")).status == 200
