"""Keys: RFC 5869's own numbers, a key for each purpose, and secrets that nobody should use."""

from __future__ import annotations

import hashlib
import secrets
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secguard._keys import Keys, Purpose, expand, extract, weakness
from secguard.policy import Context
from tests.settings_helpers import problem, problems, settings

ONE, TWO = "Q5fO9kz1Vv0sHn3dTjYw7LxBc2RmGe8u", "uJ4w-Zt8Xq_Lb6Nf1Hd0Ck9Ry3Vm7Ps2"

# Appendix A of RFC 5869, its tests with SHA-256: input, salt, info, what is extracted, and what that expands to.
VECTORS = {
    "A.1": (
        b"\x0b" * 22, bytes(range(0x0D)), bytes(range(0xF0, 0xFA)),
        "077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5",
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
    ),
    "A.2": (
        bytes(range(0x50)), bytes(range(0x60, 0xB0)), bytes(range(0xB0, 0x100)),
        "06a6b88c5853361a06104c9ceb35b45cef760014904671014a193f40c15fc244",
        ("b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09"
         "da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87"),
    ),
    "A.3": (
        b"\x0b" * 22, b"", b"",
        "19ef24a32c717b167f33a91d6f648bdf96596776afdb6377ac434c1c293ccb04",
        "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("secret", "salt", "info", "extracted", "expanded"), VECTORS.values(), ids=VECTORS)
def test_vectors_of_the_rfc(secret: bytes, salt: bytes, info: bytes, extracted: str, expanded: str) -> None:
    assert extract(secret, salt).hex() == extracted
    assert expand(extract(secret, salt), info, len(expanded) // 2).hex() == expanded


def test_key_is_what_the_design_says() -> None:
    (key,) = Keys([ONE]).derive("csrf-token", "cookie")
    assert key == expand(extract(ONE.encode()), b"secguard/v1/csrf-token/cookie")
    assert len(key) == hashlib.sha256().digest_size


def test_every_purpose_name_and_secret_has_a_key_of_its_own() -> None:
    keys = Keys([ONE, TWO])
    pairs = [(purpose, name) for purpose in get_args(Purpose) for name in ("", "a", "a/b", "/a")]
    made = [key for purpose, name in pairs for key in keys.derive(purpose, name)]
    assert len(set(made)) == len(made) == 2 * len(pairs)
    assert all("/" not in purpose for purpose in get_args(Purpose))


def test_first_secret_comes_first() -> None:
    assert Keys([ONE, TWO]).derive("csrf-token", "") == (
        *Keys([ONE]).derive("csrf-token", ""),
        *Keys([TWO]).derive("csrf-token", ""),
    )


def test_no_secret_is_no_key() -> None:
    assert not Keys()
    assert Keys().derive("csrf-token", "") == ()
    assert Keys([ONE])


def test_secrets_are_not_shown() -> None:
    keys = Keys([ONE, TWO])
    assert repr(keys) == str(keys) == "Keys(2 hidden)"
    assert "Keys(2 hidden)" in repr(Context(keys=keys))


def test_keys_are_equal_where_their_secrets_are() -> None:
    assert Keys([ONE]) == Keys([ONE])
    assert Keys([ONE, TWO]) != Keys([TWO, ONE])


def test_secret_need_not_be_unicode() -> None:
    assert Keys(["\udcff" + ONE]).derive("csrf-token", "") != Keys([ONE]).derive("csrf-token", "")


WEAK = {
    "Django's placeholder": "django-insecure-&x7p0q2w8e4r6t1y3u5i9o7a2s4d6f8g0h",
    "jwt.io's": "a-string-secret-at-least-256-bits-long",
    "FastAPI's documentation": "09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7",
    "Flask's documentation": "192B9BDD22AB9ED4D12E236C78AFCB9A393EC15F71BBF5DC987D54727823BCBF",
    "change me": "please-change-me-before-you-deploy-this",
    "CHANGE_ME": "CHANGE_ME_CHANGE_ME_CHANGE_ME_1234567",
    "your secret key": "your-secret-key-goes-here-and-is-long-1",
    "a password": "correct-horse-battery-password-staple-9",
    "one letter": "a" * 64,
    "few letters": "abab" * 8 + "cdcdcd",
    "a word over and over": "Tr0ub4dor&" * 4,
    "twice the same": ONE[:16] * 2,
    "the alphabet": "abcdefghijklmnopqrstuvwxyz-12345",
    "digits": "0123456789abcdefghijklmnopqrstuv",
    "backwards": "zyxwvutsrqponmlkjihgfedcba987654",
    "blanks": " " * 40,
}


@pytest.mark.parametrize("secret", WEAK.values(), ids=WEAK)
def test_weak_secret_is_refused_and_not_shown(secret: str) -> None:
    assert weakness(secret)
    found = problem(secret_keys=[secret])
    assert (found.code, found.where) == ("secret-key-weak", "Settings(secret_keys[0]=...)")
    assert secret not in str(found)
    assert "token_urlsafe" in found.message
    with pytest.raises(ValueError, match="token_urlsafe") as caught:
        Keys([secret])
    assert secret not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("made", [secrets.token_urlsafe, secrets.token_hex, secrets.token_bytes])
def test_secret_that_was_drawn_by_lot_is_taken(made: object) -> None:
    for _ in range(2000):
        token = made(32)  # type: ignore[operator]
        assert not weakness(token if isinstance(token, str) else token.decode("latin-1"))


@given(st.text(min_size=32))
def test_no_text_raises_but_the_one_error(secret: str) -> None:
    try:
        Keys([secret])
    except ValueError as error:
        assert "token_urlsafe" in str(error)  # noqa: PT017 - most texts are fine


# Settings


def test_secrets_become_the_keys_of_the_context() -> None:
    assert not settings().context().keys
    keys = settings({"SECGUARD_SECRET_KEYS": f"{ONE}, {TWO}"}).context().keys
    assert keys == Keys([ONE, TWO]) == settings(secret_keys=[ONE, TWO]).context().keys
    assert settings(secret_keys=f"{ONE},{TWO}").context().keys == keys
    assert settings(secrets={"SECGUARD_SECRET_KEYS": ONE}).context().keys == Keys([ONE])
    assert settings(secret_keys=[ONE]).context(keys=Keys([TWO])).keys == Keys([TWO])


def test_settings_show_no_secret() -> None:
    made = settings(secret_keys=[ONE])
    assert ONE not in repr(made) + str(made) + str(made.origins) + repr(made.context())


def test_short_secret_is_refused_and_not_shown() -> None:
    found = problem({"SECGUARD_SECRET_KEYS": ONE[:31]})
    assert (found.code, found.where, found.value) == ("secret-key-short", "SECGUARD_SECRET_KEYS[0]", "'********'")
    assert "31 characters" in found.message
    assert ONE[:31] not in str(found)
    with pytest.raises(ValueError, match="31 characters"):
        Keys([ONE[:31]])


def test_secret_that_stands_there_twice_is_refused_and_not_shown() -> None:
    found = problem({"SECGUARD_SECRET_KEYS": f"{ONE},{TWO},{ONE}"})
    assert found.code == "secret-key-twice"
    assert ONE not in str(found)
    with pytest.raises(ValueError, match="twice"):
        Keys([ONE, ONE])


def test_every_mistake_is_told_at_once() -> None:
    found = problems({"SECGUARD_SECRET_KEYS": f"short,{ONE},{'x' * 40}", "SECGUARD_MODE": "x"})
    assert {told.code for told in found} == {"secret-key-short", "secret-key-weak", "invalid-value"}
