"""The real OpenTelemetry instrumentors, applied before and after protect(), and taken off again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import fastapi
import pytest
import starlette.applications
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.instrumentation.starlette import StarletteInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from secguard import Settings, protect
from secguard.policy import Policy

Instrumentor: TypeAlias = FastAPIInstrumentor | StarletteInstrumentor


class Quiet:
    """Settings whose events nobody is told."""

    def policies(self) -> tuple[Policy, ...]:
        return Settings(_env_file=None).policies(sinks=())


class Spans:
    """Where an instrumentor sends its spans."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))

    def take(self) -> list[str]:
        names = [span.name for span in self.exporter.get_finished_spans() if span.parent is None]
        self.exporter.clear()
        return names


@pytest.fixture
def spans() -> Spans:
    return Spans()


def hello(request: Request) -> Response:
    return PlainTextResponse("hello")


def boom(request: Request) -> Response:
    raise LookupError("boom")


def routed(app: Starlette) -> Starlette:
    app.router.routes += [Route("/hello", hello), Route("/boom", boom)]
    return app


def answers(app: Starlette) -> None:
    """Fail unless both answers of the app are hardened, and each header stands there once."""
    client = TestClient(app, raise_server_exceptions=False)
    for path, status in {"/hello": 200, "/boom": 500}.items():
        response = client.get(path)
        assert response.status_code == status
        assert response.headers.get_list("x-content-type-options") == ["nosniff"]
        assert response.headers.get_list("x-frame-options") == ["SAMEORIGIN"]


KINDS: dict[str, tuple[Callable[[], Starlette], Any]] = {
    "starlette": (Starlette, StarletteInstrumentor),
    "fastapi": (fastapi.FastAPI, FastAPIInstrumentor),
    "fastapi, by the one for starlette": (fastapi.FastAPI, StarletteInstrumentor),
}


@pytest.mark.parametrize(("make", "instrumentor"), KINDS.values(), ids=KINDS)
def test_instrumented_before_protect(make: Callable[[], Starlette], instrumentor: Any, spans: Spans) -> None:
    app = routed(make())
    instrumentor.instrument_app(app, tracer_provider=spans.provider)
    protect(app, Quiet())
    answers(app)
    assert spans.take() == ["GET /hello", "GET /boom"]


@pytest.mark.parametrize(("make", "instrumentor"), KINDS.values(), ids=KINDS)
def test_instrumented_after_protect(make: Callable[[], Starlette], instrumentor: Any, spans: Spans) -> None:
    app = routed(protect(make(), Quiet()))
    instrumentor.instrument_app(app, tracer_provider=spans.provider)
    answers(app)
    assert spans.take() == ["GET /hello", "GET /boom"]


@pytest.mark.parametrize("first", ["protect", "instrument"])
@pytest.mark.parametrize(("make", "instrumentor"), KINDS.values(), ids=KINDS)
def test_uninstrumented_again(make: Callable[[], Starlette], instrumentor: Any, first: str, spans: Spans) -> None:
    app = routed(make())
    if first == "protect":
        protect(app, Quiet())
    instrumentor.instrument_app(app, tracer_provider=spans.provider)
    if first == "instrument":
        protect(app, Quiet())
    answers(app)
    instrumentor.uninstrument_app(app)
    if instrumentor is FastAPIInstrumentor:
        spans.take()
        answers(app)
        assert spans.take() == []
    else:
        answers(app)  # that one leaves its middleware in the stack, protected or not


@pytest.fixture(params=["starlette", "fastapi"])
def globally(request: pytest.FixtureRequest, spans: Spans) -> Iterator[str]:
    """Every app made from now on is instrumented, as `opentelemetry-instrument` does it."""
    instrumentor: Instrumentor = FastAPIInstrumentor() if request.param == "fastapi" else StarletteInstrumentor()
    instrumentor.instrument(tracer_provider=spans.provider)
    try:
        yield request.param
    finally:
        instrumentor.uninstrument()


def test_apps_that_are_instrumented_as_they_are_made(globally: str, spans: Spans) -> None:
    app = routed(fastapi.FastAPI() if globally == "fastapi" else starlette.applications.Starlette())
    protect(app, Quiet())
    answers(app)
    assert spans.take() == ["GET /hello", "GET /boom"]


def test_the_span_ends_with_the_status_that_was_sent(spans: Spans) -> None:
    app = protect(fastapi.FastAPI(), Quiet())
    routed(app)
    FastAPIInstrumentor.instrument_app(app, tracer_provider=spans.provider)
    answers(app)
    statuses = {
        value
        for span in spans.exporter.get_finished_spans()
        for name, value in (span.attributes or {}).items()
        if name in {"http.status_code", "http.response.status_code"}
    }
    assert statuses == {200, 500}
