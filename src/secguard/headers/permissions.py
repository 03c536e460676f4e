"""Permissions-Policy: which features a page and its frames may use (W3C Permissions Policy section 5.2)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Annotated, Final, TypeAlias

from pydantic import AfterValidator, BeforeValidator
from pydantic_core import PydanticCustomError

from secguard.events import on_one_line
from secguard.policy.section import Several, split_commas

# The features of the W3C's registry and of Chromium. A name a browser does not know is a message in its console.
FEATURES: Final = frozenset(
    "accelerometer all-screens-capture ambient-light-sensor aria-notify attribution-reporting autofill autoplay "
    "battery bluetooth browsing-topics camera captured-surface-control clipboard-read clipboard-write "
    "compute-pressure controlled-frame deferred-fetch deferred-fetch-minimal digital-credentials-create "
    "digital-credentials-get direct-sockets display-capture encrypted-media execution-while-not-rendered "
    "execution-while-out-of-viewport focus-without-user-activation fullscreen gamepad geolocation gyroscope hid "
    "identity-credentials-get idle-detection join-ad-interest-group keyboard-map language-detector language-model "
    "local-fonts local-network local-network-access loopback-network magnetometer manual-text mediasession "
    "microphone midi monetization on-device-speech-recognition otp-credentials payment picture-in-picture "
    "private-state-token-issuance private-state-token-redemption proofreader publickey-credentials-create "
    "publickey-credentials-get record-ad-auction-events rewriter run-ad-auction screen-wake-lock serial "
    "shared-storage shared-storage-select-url smart-card speaker-selection storage-access sub-apps summarizer "
    "sync-xhr tools translator unload usb usb-unrestricted vertical-scroll web-app-installation web-printing "
    "web-share window-management writer xr-spatial-tracking".split()
)

# Chosen so that no page that works today stops working: nothing here is used without asking the user first, or by
# passkeys, clipboards, players and wake locks, which are left at the browser's own default, `self`.
DENIED: Final[Mapping[str, tuple[str, ...]]] = dict.fromkeys(
    (
        "accelerometer",
        "browsing-topics",
        "camera",
        "display-capture",
        "geolocation",
        "gyroscope",
        "hid",
        "idle-detection",
        "local-fonts",
        "magnetometer",
        "microphone",
        "midi",
        "payment",
        "serial",
        "usb",
        "xr-spatial-tracking",
    ),
    (),
)

# The browsers' defaults, in writing: so that an audit reads them, and so that no frame is handed them by default.
IN_WRITING: Final[Mapping[str, tuple[str, ...]]] = dict.fromkeys(
    (
        "clipboard-read",
        "clipboard-write",
        "fullscreen",
        "publickey-credentials-create",
        "publickey-credentials-get",
        "screen-wake-lock",
        "storage-access",
    ),
    ("self",),
)

_ORIGIN: Final = re.compile(r"[a-z][a-z0-9+.\-]*://[A-Za-z0-9\-._*\[\]:]+")


def _feature(name: str) -> str:
    feature = name.strip().lower().replace("_", "-")
    if feature == "cross-origin-isolated":
        raise PydanticCustomError(
            "permissions-policy-feature",
            "cross-origin-isolated is not a permission to hand out here; set cross_origin_embedder_policy instead",
        )
    if feature not in FEATURES:
        near = "".join(f"; did you mean {name}?" for name in get_close_matches(feature, FEATURES, 1))
        raise PydanticCustomError(
            "permissions-policy-feature",
            "no browser knows the feature {feature}{near}",
            {"feature": on_one_line(feature), "near": near},
        )
    return feature


def _allowlist(value: object) -> object:
    if value is None:
        return None
    items = split_commas(value.strip("()") if isinstance(value, str) else value)
    if not isinstance(items, (list, tuple)):
        return items  # pydantic says what is wrong with it
    return tuple(str(item).strip("'\"") for item in items if item not in ("", "none", "'none'"))


def _origins(items: tuple[str, ...] | None) -> tuple[str, ...] | None:
    for item in items or ():
        if item not in {"self", "src", "*"} and not _ORIGIN.fullmatch(item):
            raise PydanticCustomError(
                "permissions-policy-allowlist",
                "{item} is neither self, * nor an origin; write none, self, * or origins like https://maps.example.com",
                {"item": on_one_line(item)},
            )
    return items


Feature: TypeAlias = Annotated[str, AfterValidator(_feature)]
Allowlist: TypeAlias = Annotated[Several[str] | None, BeforeValidator(_allowlist), AfterValidator(_origins)]
PermissionsPolicy: TypeAlias = dict[Feature, Allowlist]


def permissions_policy(allowlists: Mapping[str, Sequence[str] | None]) -> str:
    """Write the header value, a dictionary of RFC 9651; features whose allowlist is None are left to the browser.

    Example:
        >>> permissions_policy({"camera": (), "geolocation": ("self", "https://maps.example.com"), "usb": None})
        'camera=(), geolocation=(self "https://maps.example.com")'
    """
    return ", ".join(f"{feature}={_members(allowed)}" for feature, allowed in allowlists.items() if allowed is not None)


def _members(allowed: Sequence[str]) -> str:
    if "*" in allowed:
        return "*"
    return "(" + " ".join(item if item in {"self", "src"} else f'"{item}"' for item in allowed) + ")"
