"""One field of a form, found while it comes in: whatever the pieces, and however much follows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secguard.csrf.forms import FURTHEST, FormScanner, is_form

URLENCODED = b"application/x-www-form-urlencoded"
MULTIPART = b"multipart/form-data; boundary=edge"
FIELD = b"csrf_token"


def scan(content_type: bytes, pieces: Iterable[bytes], field: bytes = FIELD) -> FormScanner:
    """Return a scanner that has seen all of these, up to where it has seen enough."""
    scanner = FormScanner(content_type, field)
    waiting = list(pieces)
    for at, piece in enumerate(waiting, 1):
        scanner.feed(piece, last=at == len(waiting))
        if scanner.over:
            break
    return scanner


def part(name: str, value: bytes, more: str = "", extra: bytes = b"") -> bytes:
    head = f'--edge\r\nContent-Disposition: form-data; name="{name}"{more}\r\n'.encode()
    return head + extra + b"\r\n" + value + b"\r\n"


END = b"--edge--\r\n"

FORMS: dict[str, tuple[bytes, bytes, bytes | None]] = {
    "alone": (URLENCODED, b"csrf_token=abc", b"abc"),
    "first": (URLENCODED, b"csrf_token=abc&name=x", b"abc"),
    "last": (URLENCODED, b"name=x&csrf_token=abc", b"abc"),
    "twice, and the first counts": (URLENCODED, b"csrf_token=abc&csrf_token=def", b"abc"),
    "encoded": (URLENCODED, b"csrf%5Ftoken=a%2Bb+c", b"a+b c"),
    "empty": (URLENCODED, b"csrf_token=&a=b", b""),
    "without a value": (URLENCODED, b"csrf_token", b""),
    "with an equals sign in it": (URLENCODED, b"csrf_token=a=b", b"a=b"),
    "between ampersands": (URLENCODED, b"&&csrf_token=abc&&", b"abc"),
    "in a kind with a parameter": (URLENCODED + b"; charset=utf-8", b"csrf_token=abc", b"abc"),
    "in a kind in capitals": (URLENCODED.upper(), b"csrf_token=abc", b"abc"),
    "not there": (URLENCODED, b"name=x", None),
    "not there in an empty form": (URLENCODED, b"", None),
    "as a value": (URLENCODED, b"name=csrf_token", None),
    "as part of a name": (URLENCODED, b"xcsrf_token=1&csrf_tokens=2", None),
    "in capitals": (URLENCODED, b"CSRF_TOKEN=abc", None),

    "a part": (MULTIPART, part("csrf_token", b"abc") + END, b"abc"),
    "a part after others": (MULTIPART, part("a", b"x") + part("csrf_token", b"abc") + END, b"abc"),
    "a part before a file": (
        MULTIPART,
        part("csrf_token", b"abc") + part("file", b"\0" * 99, '; filename="x"') + END,
        b"abc",
    ),
    "a part after a file": (
        MULTIPART,
        part("file", b"\r\n--ed", '; filename="x"') + part("csrf_token", b"abc") + END,
        b"abc",
    ),
    "a part with more header lines": (
        MULTIPART,
        part("csrf_token", b"abc", extra=b"Content-Type: text/plain\r\nX-Name: csrf\r\n") + END,
        b"abc",
    ),
    "an empty part": (MULTIPART, part("csrf_token", b"") + END, b""),
    "of two parts the first": (MULTIPART, part("csrf_token", b"abc") + part("csrf_token", b"def") + END, b"abc"),
    "a part with letters of an edge": (MULTIPART, part("csrf_token", b"\r\n--edg") + END, b"\r\n--edg"),
    "a quoted edge": (b'multipart/form-data; boundary="edge"', part("csrf_token", b"abc") + END, b"abc"),
    "a part that does not end": (MULTIPART, part("csrf_token", b"abc"), None),
    "a part that is a file": (MULTIPART, part("csrf_token", b"abc", '; filename="x"') + END, None),
    "a part without a name": (MULTIPART, b"--edge\r\nContent-Type: text/plain\r\n\r\ncsrf_token\r\n" + END, None),
    "another part": (MULTIPART, part("name", b"x") + END, None),
    "another edge": (MULTIPART, part("csrf_token", b"abc").replace(b"edge", b"else") + END, None),
    "no edge": (MULTIPART, b"csrf_token=abc", None),
    "a header line that is none": (MULTIPART, b"--edge\r\n\0: x\r\n\r\nabc\r\n" + END, None),
}  # fmt: skip


@pytest.mark.parametrize(("content_type", "body", "value"), FORMS.values(), ids=FORMS)
def test_field(content_type: bytes, body: bytes, value: bytes | None) -> None:
    scanner = scan(content_type, [body])
    assert scanner.over
    assert scanner.value == value


@pytest.mark.parametrize(("content_type", "body", "value"), FORMS.values(), ids=FORMS)
def test_field_byte_by_byte(content_type: bytes, body: bytes, value: bytes | None) -> None:
    pieces = [bytes([byte]) for byte in body]
    assert scan(content_type, [*pieces, b""]).value == value


@pytest.mark.parametrize(("content_type", "body", "value"), FORMS.values(), ids=FORMS)
def test_scanner_reads_no_further_than_the_field(content_type: bytes, body: bytes, value: bytes | None) -> None:
    if value and body.endswith(END):
        scanner = FormScanner(content_type, FIELD)
        scanner.feed(body)
        assert scanner.over
        scanner.feed(b"whatever comes then")
        assert scanner.value == value


@pytest.mark.parametrize(
    ("before", "found"),
    [
        pytest.param(FURTHEST - 100, True, id="within 64 KiB"),
        pytest.param(FURTHEST - len(b"&csrf_token=abc"), True, id="right at the end of them"),
        pytest.param(FURTHEST - len(b"&csrf_token=abc") + 1, False, id="cut by their end"),
        pytest.param(FURTHEST, False, id="behind them"),
    ],
)
@pytest.mark.parametrize("size", [1000, FURTHEST + 1000])
def test_field_comes_within_the_first_64_kib(before: int, found: bool, size: int) -> None:
    body = b"a=" + b"x" * (before - 2) + b"&csrf_token=abc"
    scanner = scan(URLENCODED, [body[at : at + size] for at in range(0, len(body), size)])
    assert scanner.over
    assert scanner.value == (b"abc" if found else None)


def test_nobody_waits_for_the_rest_of_an_upload() -> None:
    scanner = FormScanner(MULTIPART, FIELD)
    scanner.feed(part("file", b"", '; filename="x"').removesuffix(b"\r\n"))
    fed = 0
    while not scanner.over:
        scanner.feed(b"\0" * 1000)
        fed += 1000
    assert fed <= FURTHEST + 1000


@pytest.mark.parametrize(
    ("content_type", "form"),
    [
        (URLENCODED, True),
        (MULTIPART, True),
        (b"Multipart/Form-Data;boundary=x", True),
        (b"multipart/form-data; boundary=" + b"e" * 70, True),
        (b"multipart/form-data; boundary=" + b"e" * 71, False),
        (b"multipart/form-data; boundary=", False),
        (b"multipart/form-data", False),
        (URLENCODED + b"; boundary=x", False),
        (b"multipart/mixed; boundary=x", False),
        (b"application/json", False),
        (b"text/plain", False),
        (b"", False),
        (b"\xff;;;=", False),
    ],
)
def test_kinds_of_forms(content_type: bytes, form: bool) -> None:
    assert is_form(content_type) is form


# Laws


def cut(body: bytes, places: Iterable[int]) -> Iterator[bytes]:
    at = 0
    for place in sorted({place % (len(body) + 1) for place in places}):
        yield body[at:place]
        at = place
    yield body[at:]


names = st.sampled_from(["csrf_token", "a", "csrf", "csrf_token_"]) | st.text(max_size=4)
values = st.text(max_size=12) | st.sampled_from(["\r\n--edg", "--edge", "a=b&c", "+ %41"])
places = st.lists(st.integers(0, 10_000), max_size=12)


@given(st.lists(st.tuples(names, values), max_size=6), places)
def test_urlencoded_form_says_the_same_however_it_is_cut(fields: list[tuple[str, str]], where: list[int]) -> None:
    body = urlencode(fields, encoding="utf-8", errors="surrogatepass").encode()
    said = [value.encode("utf-8", "surrogatepass") for name, value in fields if name == "csrf_token"]
    assert scan(URLENCODED, cut(body, where)).value == (said[0] if said else None)


plain_names = st.sampled_from(["csrf_token", "a", "csrf", "é"])
plain_values = st.binary(max_size=30).filter(lambda value: b"--edge" not in value)


@given(st.lists(st.tuples(plain_names, plain_values, st.booleans()), max_size=6), places)
def test_multipart_form_says_the_same_however_it_is_cut(
    fields: list[tuple[str, bytes, bool]], where: list[int]
) -> None:
    files = {True: '; filename="x"', False: ""}
    body = b"".join(part(name, value, files[is_file]) for name, value, is_file in fields) + END
    said = [value for name, value, is_file in fields if name == "csrf_token" and not is_file]
    assert scan(MULTIPART, cut(body, where)).value == (said[0] if said else None)


@given(st.binary(max_size=200) | st.text(alphabet="&=%+csrf_token", max_size=60).map(str.encode), places)
def test_no_bytes_raise_and_no_cut_matters(body: bytes, where: list[int]) -> None:
    for content_type in (URLENCODED, MULTIPART):
        assert scan(content_type, cut(body, where)).value == scan(content_type, [body]).value


@given(st.binary(max_size=60))
def test_no_content_type_raises(content_type: bytes) -> None:
    for kind in (content_type, MULTIPART + content_type, URLENCODED + b";" + content_type):
        if is_form(kind):
            assert scan(kind, [b"x", b"y"]).over
