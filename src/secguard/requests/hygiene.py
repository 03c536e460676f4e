"""Hygiene of requests: what two readers could understand differently never reaches a decision, nor the app.

1. Lines that must be single are: a second Host, Origin, Sec-Fetch-*, Content-Length or Content-Type is refused, and so
   is Content-Length beside Transfer-Encoding, the raw material of request smuggling (RFC 9112 section 6.1).
2. Host is `host[:port]` or nothing (RFC 9110 section 7.2), whether or not an allow-list follows.
3. A path begins with one slash and has no empty or dot segment, control byte, backslash or U+FFFD, plain or encoded:
   frameworks disagree about all of them, and a path rule must mean the same to us as to the router behind us.
4. The number of header lines and their size are bounded.

Each check can be switched off by a setting named for its hazard.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Final

from secguard.policy import Context, Exchange, Policy, Reply
from secguard.requests.settings import RequestsSettings, must_be_single

# What is asked of the decoded path, by the setting that waives it. An encoding that is still there was written twice
# (`%252e`), and some reader behind us will take it off. Servlet readers end a dot segment at `;` too.
_SLASH: Final = r"(?:/|%2f)"
_PATH_CHECKS: Final = {
    "allow_rootless_paths": (re.compile(r"\A(?!/)"), "the path does not begin with a slash"),
    "allow_empty_segments": (re.compile(rf"{_SLASH}{{2}}", re.IGNORECASE), "the path has an empty segment"),
    "allow_dot_segments": (
        re.compile(rf"(?:{_SLASH}|\A)(?:\.|%2e){{1,2}}(?:{_SLASH}|;|%3b|\Z)", re.IGNORECASE),
        "the path has a dot segment",
    ),
    "allow_control_bytes": (
        re.compile(r"[\x00-\x1f\x7f-\x9f]|%[01][0-9a-f]|%7f", re.IGNORECASE),
        "the path has a control byte",
    ),
    "allow_backslashes": (re.compile(r"\\|%5c", re.IGNORECASE), "the path has a backslash"),
    "allow_undecodable_paths": (
        re.compile("\N{REPLACEMENT CHARACTER}|[\ud800-\udfff]|%ef%bf%bd", re.IGNORECASE),
        "the path is not UTF-8",
    ),
}


class RequestsPolicy(Policy):
    """Refuses, with 400 or 431, requests that do not pass the hygiene of a RequestsSettings."""

    section: RequestsSettings

    def __init__(self, section: RequestsSettings, context: Context | None = None) -> None:
        super().__init__(context)
        self.section = section
        self._most = section.max_header_count
        self._largest = section.max_header_size
        self._refuses_both_lengths = not section.allow_length_with_transfer_encoding
        self._refuses_encoded_slashes = section.refuse_encoded_slashes
        self._waived = frozenset(name.encode() for name in section.allow_repeated_headers)
        self._path_checks = tuple(check for name, check in _PATH_CHECKS.items() if not getattr(section, name))

    def admit(self, exchange: Exchange) -> Reply | None:
        """Return the refusal of a request that two readers could understand differently."""
        lines, headers, path = exchange.lines, exchange.headers, exchange.path
        if len(headers) == len(lines):
            # No name comes twice, so the mapping holds every byte, and this is the fastest way to count them.
            size = len(b"".join([*headers, *headers.values()]))
        else:
            size = sum(len(name) + len(value) for name, value in lines)
        if len(lines) > self._most or size > self._largest:
            return self._too_large(exchange, size)
        if len(headers) < len(lines) and (name := self._repeated(exchange)):
            return self._refuse(exchange, "requests.repeated", "a header that must be single came twice", header=name)
        if b"transfer-encoding" in headers and b"content-length" in headers and self._refuses_both_lengths:
            return self._refuse(exchange, "requests.framing", "Content-Length came with Transfer-Encoding")
        if exchange.named_host is None and not self._waives_host(exchange):
            host = headers.get(b"host", b"")
            return self._refuse(exchange, "requests.host", "Host is missing or is no host[:port]", host=host)
        # Nearly every path passes these, at a fraction of the cost of the exact checks.
        if not (
            path
            and path[0] == "/"
            and "//" not in path
            and "/." not in path
            and "%" not in path
            and "\\" not in path
            and path.isascii()
            and path.isprintable()
        ) and (wrong := self._wrong_path(exchange)):
            return self._refuse(exchange, "requests.path", wrong)
        if self._refuses_encoded_slashes and self._has_encoded_slash(exchange):
            return self._refuse(exchange, "requests.path", "the path has an encoded slash")
        return None

    def _has_encoded_slash(self, exchange: Exchange) -> bool:
        return b"%2f" in (exchange.raw_path or b"").lower() or "%2f" in exchange.path.lower()

    def _repeated(self, exchange: Exchange) -> bytes | None:
        seen = set()
        for name, _ in exchange.lines:
            if name in seen and name not in self._waived and must_be_single(name):
                return name
            seen.add(name)
        return None

    def _waives_host(self, exchange: Exchange) -> bool:
        # HTTP/1.0 knows no Host, and load balancers' health checks still speak it. From 1.1 on it is a MUST
        # (RFC 9112 section 3.2), which not every server enforces.
        # granian writes "1" for it, and an empty line for the missing one.
        missing = not exchange.headers.get(b"host")
        return self.section.allow_malformed_host or (missing and exchange.http_version in {"1.0", "1"})

    def _wrong_path(self, exchange: Exchange) -> str | None:
        if exchange.path == "*" and exchange.method == "OPTIONS":  # asterisk-form, RFC 9112 section 3.2.4
            return None
        return next((reason for wrong, reason in self._path_checks if wrong.search(exchange.path)), None)

    def _refuse(self, exchange: Exchange, code: str, reason: str, **detail: object) -> Reply:
        return self.context.refuse(exchange, HTTPStatus.BAD_REQUEST, code, reason, **detail)

    def _too_large(self, exchange: Exchange, size: int) -> Reply:
        return self.context.refuse(
            exchange,
            HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
            "requests.headers",
            "too many header lines, or too large",
            lines=len(exchange.lines),
            bytes=size,
        )
