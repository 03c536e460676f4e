"""What keys are called in a shared store: nothing that the network sends stands in them, and all are of one length."""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

from secguard.store.quota import Quota

PREFIX: Final = "secguard:rl:"

_TAG_SIZE: Final = 15  # bytes
_BUCKET_SIZE: Final = 10


def bucket_of(quota: Quota) -> str:
    """Return a digest of everything that makes two quotas one."""
    parts = [part.encode("utf-8", "surrogatepass") for part in (quota.bucket, quota.strategy)]
    parts += [str(number).encode() for number in (quota.amount, quota.seconds)]
    # With its length before each part, no two quotas are written alike.
    written = b"".join(len(part).to_bytes(8, "big") + part for part in parts)
    return blake2b(written, digest_size=_BUCKET_SIZE).hexdigest()


def tag_of(key: bytes, hash_key: bytes) -> str:
    """Return a digest of a key. Who reads the store and lacks the hash key learns no address from it."""
    return blake2b(key, digest_size=_TAG_SIZE, key=hash_key).hexdigest()
