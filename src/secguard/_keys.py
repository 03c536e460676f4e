"""Keys: a few secrets, and from each of them a key of its own for every purpose.

1. A key is HKDF-SHA256 (RFC 5869) of a secret, with `secguard/v1/<purpose>/<name>` as its info: what is signed for one
   purpose is worth nothing for another.
2. The first secret signs, and all of them verify. So a new one is put in front, and the old one taken away when
   whatever it has signed is gone.
3. A secret is never shown: no repr, no error and no log has it.
4. One that somebody could know or guess is a mistake at start.
"""

from __future__ import annotations

import hmac
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Final, Literal, TypeAlias

from pydantic import AfterValidator, SecretStr
from pydantic_core import PydanticCustomError

Purpose: TypeAlias = Literal["session-signature", "session-encryption", "csrf-token", "address-hash", "limiter-hash"]

SHORTEST: Final = 32  # characters; of hexadecimal ones that is 128 bits
_SIZE: Final = 32  # bytes of a key, which is as much as SHA-256 yields
_FEWEST: Final = 8  # different characters: of 32 hexadecimal ones that are drawn by lot, fewer come up once in 10^7

REMEDY: Final = 'write what python -c "import secrets; print(secrets.token_urlsafe(32))" prints'

# What people put there and mean to replace, compared without case and punctuation. Chance makes none of these.
_PLACEHOLDER: Final = re.compile(
    "change(?:me|this|it)|replace(?:me|this)|your(?:secret|key)|(?:my|super|top)secret|secretkey|notasecret|notsecret"
    "|insecure|placeholder|donotuse|password|example|256bit"
)
# The SECRET_KEY that stands in the documentation of FastAPI, and in that of Flask. Thousands have copied them.
_PUBLISHED: Final = frozenset(
    {
        "09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7",
        "192b9bdd22ab9ed4d12e236c78afcb9a393ec15f71bbf5dc987d54727823bcbf",
    }
)


def weakness(secret: str) -> str:
    """Say how somebody could come to know a secret of sufficient length, or "" where nobody could."""
    bare = re.sub(r"[\W_]+", "", secret.casefold())
    if bare in _PUBLISHED:
        return "it stands in public documentation"
    if _PLACEHOLDER.search(bare):
        return "it is a placeholder"
    if len(set(secret)) < _FEWEST or secret in (secret + secret)[1:-1]:
        return "it repeats itself"
    # "abcdefgh…", "98765432…", or the rows of a table.
    steps = Counter(ord(after) - ord(before) for before, after in pairwise(secret))
    if max(steps[1], steps[-1]) > len(secret) / 2:
        return "it is a sequence"
    return ""


def _strong(secret: SecretStr) -> SecretStr:
    written = secret.get_secret_value()
    if len(written) < SHORTEST:
        raise PydanticCustomError(
            "secret-key-short",
            "a secret key of {length} characters can be guessed, and {shortest} are the least: {remedy}",
            {"length": len(written), "shortest": SHORTEST, "remedy": REMEDY},
        )
    if why := weakness(written):
        raise PydanticCustomError("secret-key-weak", "{why}: {remedy}", {"why": why, "remedy": REMEDY})
    return secret


def distinct(secrets: Sequence[SecretStr]) -> Sequence[SecretStr]:
    """Return the secrets, or raise the start-up error that one stands there twice."""
    if len({secret.get_secret_value() for secret in secrets}) < len(secrets):
        raise PydanticCustomError("secret-key-twice", "a secret key stands there twice: keep one of them")
    return secrets


SecretKey: TypeAlias = Annotated[SecretStr, AfterValidator(_strong)]


@dataclass(frozen=True, slots=True, init=False, repr=False)
class Keys:
    """The keys of an app, derived from its secrets. Its repr tells how many there are, and nothing else.

    Raises:
        ValueError: a secret is short, weak or there twice; the message does not show it.

    Example:
        >>> keys = Keys([os.environ["APP_SECRET"]])
        >>> keys
        Keys(1 hidden)
        >>> len(keys.derive("csrf-token", "cookie")[0])
        32
    """

    _extracted: tuple[bytes, ...]

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        held = [SecretStr(secret) for secret in secrets]
        try:
            distinct([_strong(secret) for secret in held])
        except PydanticCustomError as error:
            raise ValueError(error.message()) from None
        # What was written need not be Unicode: an environment may hold any bytes.
        written = (secret.get_secret_value().encode("utf-8", "surrogatepass") for secret in held)
        object.__setattr__(self, "_extracted", tuple(map(extract, written)))

    def __bool__(self) -> bool:
        return bool(self._extracted)

    def __repr__(self) -> str:
        return f"Keys({len(self._extracted)} hidden)"

    def derive(self, purpose: Purpose, name: str) -> tuple[bytes, ...]:
        """Return a key of 32 bytes from each secret: the first signs, and all verify.

        `name` tells apart what serves one purpose in different places, such as cookies.
        """
        info = f"secguard/v1/{purpose}/{name}".encode()  # no purpose has a slash, so no two pairs are written alike
        return tuple(expand(extracted, info) for extracted in self._extracted)


def extract(secret: bytes, salt: bytes = b"") -> bytes:
    """Return the pseudorandom key of a secret (RFC 5869 section 2.2)."""
    return hmac.digest(salt or bytes(_SIZE), secret, "sha256")


def expand(extracted: bytes, info: bytes, size: int = _SIZE) -> bytes:
    """Return as many bytes of keying material (RFC 5869 section 2.3)."""
    block = material = b""
    for counter in range(1, -(-size // _SIZE) + 1):
        block = hmac.digest(extracted, block + info + bytes([counter]), "sha256")
        material += block
    return material[:size]
