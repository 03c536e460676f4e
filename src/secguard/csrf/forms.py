"""Finds one field of a form while it comes in, without waiting for the uploads behind it.

The parsers are those of python-multipart, which Starlette reads forms with, fed piece by piece. Nobody looks further
than 64 KiB: whatever is to be found has to come first.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import unquote_to_bytes

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, QuerystringParser, parse_options_header

FURTHEST: Final = 65536  # bytes
_LONGEST_BOUNDARY: Final = 70  # bytes: RFC 2046 section 5.1.1


class FormScanner:
    """Looks for a field in one form. `over` tells that there is nothing left to look at, `value` what was found.

    Of several fields of that name the first counts. A file is none of them.

    Example:
        >>> scanner = FormScanner(b"application/x-www-form-urlencoded", b"csrf_token")
        >>> scanner.feed(b"csrf_tok")
        >>> scanner.feed(b"en=abc&name=", last=True)
        >>> scanner.over, scanner.value
        (True, b'abc')
    """

    __slots__ = ("_fields", "_left", "_parser", "over")

    def __init__(self, content_type: bytes, field: bytes) -> None:
        self.over = False
        self._left = FURTHEST
        self._fields = _Fields(field)
        self._parser = _parser(content_type, self._fields)

    @property
    def value(self) -> bytes | None:
        """The value of the field, as far as it has been found."""
        return self._fields.found

    def feed(self, chunk: bytes, *, last: bool = False) -> None:
        """Look at the next piece of the body. It may be cut anywhere."""
        if self.over:
            return
        try:
            self._parser.write(chunk[: self._left])
            if last and len(chunk) <= self._left:
                self._parser.finalize()
        except FormParserError:
            self.over = True
        self._left -= len(chunk)
        self.over |= last or self._left <= 0 or self.value is not None


class _Fields:
    """Puts together what a parser hands on in pieces. It holds no parser: that would be a reference cycle."""

    __slots__ = ("_data", "_header", "_name", "_said", "_wanted", "found")

    def __init__(self, wanted: bytes) -> None:
        self._wanted = wanted
        self._name, self._data = bytearray(), bytearray()
        self._header, self._said = bytearray(), bytearray()
        self.found: bytes | None = None

    def begin(self) -> None:
        self._name.clear()
        self._data.clear()

    def name(self, chunk: bytes, start: int, end: int) -> None:
        self._name += chunk[start:end]

    def data(self, chunk: bytes, start: int, end: int) -> None:
        self._data += chunk[start:end]

    def end(self) -> None:
        if self.found is None and self._name == self._wanted:
            self.found = bytes(self._data)

    def end_urlencoded(self) -> None:
        self._name, self._data = (bytearray(_decoded(part)) for part in (self._name, self._data))
        self.end()

    def begin_header(self) -> None:
        self._header.clear()
        self._said.clear()

    def header(self, chunk: bytes, start: int, end: int) -> None:
        self._header += chunk[start:end]

    def said(self, chunk: bytes, start: int, end: int) -> None:
        self._said += chunk[start:end]

    def end_header(self) -> None:
        if self._header.lower() == b"content-disposition":
            _, options = parse_options_header(bytes(self._said))
            if b"filename" not in options:
                self._name += options.get(b"name", b"")


def is_form(content_type: bytes) -> bool:
    """Whether this is what forms with fields are sent as (HTML, `enctype`), and can be taken apart."""
    kind, options = parse_options_header(content_type)
    if kind == b"multipart/form-data":
        return 0 < len(options.get(b"boundary", b"")) <= _LONGEST_BOUNDARY
    return kind == b"application/x-www-form-urlencoded" and b"boundary" not in options


def _parser(content_type: bytes, fields: _Fields) -> QuerystringParser | MultipartParser:
    _, options = parse_options_header(content_type)
    if b"boundary" not in options:
        return QuerystringParser(
            {
                "on_field_start": fields.begin,
                "on_field_name": fields.name,
                "on_field_data": fields.data,
                "on_field_end": fields.end_urlencoded,
            }
        )
    return MultipartParser(
        options[b"boundary"],
        {
            "on_part_begin": fields.begin,
            "on_header_begin": fields.begin_header,
            "on_header_field": fields.header,
            "on_header_value": fields.said,
            "on_header_end": fields.end_header,
            "on_part_data": fields.data,
            "on_part_end": fields.end,
        },
    )


def _decoded(written: bytes | bytearray) -> bytes:
    return unquote_to_bytes(bytes(written).replace(b"+", b" "))
