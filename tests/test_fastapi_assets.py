"""The scripts and stylesheets of the documentation pages: from this machine, or pinned ones from a CDN."""

import re
import sys
from base64 import b64encode
from hashlib import sha384
from importlib.util import find_spec
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from secguard.fastapi.assets import CDN
from tests.fastapi_pages import PAGES, guarded, read


@pytest.fixture
def without_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fastapi_offline", None)  # Python's own word for: there is no such module


def test_assets_come_from_the_same_origin_and_never_change() -> None:
    app = guarded(FastAPI(), "strict")
    client = TestClient(app)
    kinds = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8"}
    loads = [named for path in PAGES for named in read(app, path).loads]
    assert len(loads) == 6
    for named in loads:
        address = named.get("src") or named["href"]
        assert address.startswith("/")
        answer = client.get(address)
        assert answer.status_code == 200
        assert answer.headers["content-type"] == kinds[Path(address).suffix]
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert named["integrity"] == integrity(answer.content)
        assert "nonce" not in answer.headers["content-security-policy"]
        assert client.head(address).status_code == 200
        other = re.sub(r"-[0-9a-f]{16}\.", "-0123456789abcdef.", address)
        assert client.get(other).status_code == 404


def integrity(content: bytes) -> str:
    return f"sha384-{b64encode(sha384(content).digest()).decode()}"


def installed() -> Path:
    spec = find_spec("fastapi_offline")
    assert spec
    assert spec.origin
    return Path(spec.origin).parent / "static"


@pytest.mark.usefixtures("without_extra")
def test_without_the_extra_the_cdn_serves_what_is_pinned() -> None:
    app = guarded(FastAPI())
    loads = {address: named for path in PAGES for named in read(app, path).loads for address in read_address(named)}
    there = {address: named for address, named in loads.items() if address.startswith(CDN)}
    assert sorted(address.rpartition("/")[2] for address in there) == [
        "redoc.standalone.js",
        "swagger-ui-bundle.js",
        "swagger-ui.css",
    ]
    assert all(re.search(r"@\d+\.\d+\.\d+/", address) for address in there)
    assert all(named["nonce"] for named in loads.values())
    assert all(CDN not in TestClient(app).get(path).headers["content-security-policy"] for path in PAGES)
    ours = loads.keys() - there.keys()
    assert [TestClient(app).get(address).status_code for address in ours] == [200] * 3


def read_address(named: dict[str, str]) -> list[str]:
    return [named.get("src") or named["href"]]


def test_extra_installs_the_very_bytes_that_are_pinned(monkeypatch: pytest.MonkeyPatch) -> None:
    files = {path.name: integrity(path.read_bytes()) for path in installed().iterdir()}
    monkeypatch.setitem(sys.modules, "fastapi_offline", None)
    app = guarded(FastAPI())
    for named in [named for path in ("/docs", "/redoc") for named in read(app, path).loads]:
        (address,) = read_address(named)
        if address.startswith(CDN):
            assert named["integrity"] == files[address.rpartition("/")[2]]


def test_another_version_is_served_with_its_own_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    static = tmp_path / "fastapi_offline" / "static"
    static.mkdir(parents=True)
    static.parent.joinpath("__init__.py").write_text("raise RuntimeError('no code of it runs')")
    static.joinpath("swagger-ui-bundle.js").write_text("window.another = true")
    monkeypatch.delitem(sys.modules, "fastapi_offline", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    app = guarded(FastAPI())
    _, bundle, stylesheet = read(app, "/docs").loads
    assert bundle["integrity"] == integrity(b"window.another = true")
    assert TestClient(app).get(bundle["src"]).text == "window.another = true"
    assert stylesheet["href"].startswith(CDN)  # it does not have that one
