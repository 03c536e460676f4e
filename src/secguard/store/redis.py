"""Counts in Redis or Valkey: one script call a request, however many quotas apply."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from hashlib import sha1
from importlib import resources
from struct import Struct
from typing import Final

from secguard.store.backend import StoreOutError
from secguard.store.names import PREFIX, bucket_of, tag_of
from secguard.store.quota import Demand, Quota, Standing
from secguard.store.wire import CrossSlotError, NoScriptError, Wire, bulk, written

_CODES: Final = {"fixed-window": 1, "sliding-window": 2, "moving-window": 3}
_QUOTA: Final = Struct("<ddB")
_COST: Final = Struct("<dB")
_new: Final = tuple.__new__
_PROBE: Final = f"{PREFIX}{{probe}}"
_PROBING: Final = "return redis.call('SET', KEYS[1], 1, 'PX', 1000)"


class Script:
    """A Lua script, and how it is called: by the name that a server has for it once it knows it, or in full.

    `around` has what stands around the digest of a key in a call about these quotas.
    """

    __slots__ = ("around", "by_name", "in_full", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.by_name = bulk("EVALSHA") + bulk(sha1(text.encode(), usedforsecurity=False).hexdigest())
        self.in_full = bulk("EVAL") + bulk(text)
        self.around: dict[tuple[Quota, ...], list[bytes]] = {}


def source_of(name: str) -> str:
    """Return the text of a script, which begins with what they all share."""
    files = resources.files(__package__)
    parts = ("asked", "quick", "windows", name) if name == "take" else ("asked", "windows", name)
    return "\n".join(files.joinpath(f"{part}.lua").read_text("utf-8") for part in parts)


class _Words:
    """How a quota is written in a call: the name of a key but for its digest, and what stands in ARGV."""

    __slots__ = ("named", "packed", "tag")

    def __init__(self, quota: Quota) -> None:
        bucket = bucket_of(quota)
        self.tag = bucket if quota.together else None
        named = f"{PREFIX}{{{bucket}}}:{bucket}:%b" if quota.together else f"{PREFIX}{{%b}}:{bucket}"
        self.named = named.encode()
        self.packed = _QUOTA.pack(quota.amount, quota.seconds * 1_000_000, _CODES[quota.strategy])


class RedisCounts:
    """Decides on Demands, and counts them, as MemoryCounts does, for every process that shares the server.

    The time is that of the server. Where that is a cluster (or looks like one, as proxies do), demands are taken
    together as far as their keys share a slot; between those, all or nothing is an effort and no promise.

    It serves one event loop at a time, that of asyncio.

    Args:
        url: redis://, rediss://, redis+unix://, and the same for valkey.
        hash_key: what keys are digested with. Without it, an address in the store can be guessed.
        timeout: of a call, in seconds.
        source: where the texts of the scripts come from.
    """

    def __init__(
        self, url: str, hash_key: bytes = b"", timeout: float = 0.05, source: Callable[[str], str] = source_of
    ) -> None:
        self.wire = Wire(url, timeout)
        self._hash_key = hash_key
        self.scattered = False  # whether the server has refused keys of several slots in one call
        self._written: dict[Quota, _Words] = {}
        self._scripts = {name: Script(source(name)) for name in ("take", "peek", "give_back", "reset", "block")}

    async def open(self) -> None:
        """Connect, and make the scripts known."""
        for script in self._scripts.values():
            await self.wire.ask(written("SCRIPT", "LOAD", script.text))

    async def close(self) -> None:
        """Close all connections. What comes afterwards opens new ones."""
        await self.wire.close()

    async def probe(self) -> None:
        """Do what needs a server that works and lets our scripts write, which one that answers PING may not."""
        await self.wire.ask(written("EVAL", _PROBING, 1, _PROBE))

    async def take(self, demands: Sequence[Demand]) -> list[Standing]:
        """Count all demands, if there is room for each of them, and return how their quotas stand."""
        if not self.scattered:
            try:
                return _standings(demands, await self._run("take", demands))
            except CrossSlotError:
                self.scattered = True
        standings = await self.peek(demands)
        if any(standing.refused for standing in standings):
            return standings
        done: list[int] = []
        for places in self._slots(demands):
            here = [demands[place] for place in places]
            taken = _standings(here, await self._run("take", here))
            for place, standing in zip(places, taken, strict=True):
                standings[place] = standing
            if any(standing.refused for standing in taken):
                await self.give_back([demands[place] for place in done])
                for place in done:
                    standing = standings[place]
                    standings[place] = standing._replace(remaining=standing.remaining + demands[place].cost)
                break
            done += places
        return standings

    async def give_back(self, demands: Sequence[Demand]) -> None:
        """Take back what was counted last for these demands, and from a sponsor where nothing else is counted."""
        await self._each("give_back", demands)

    async def peek(self, demands: Sequence[Demand]) -> list[Standing]:
        """Return how the quotas stand, and count nothing."""
        return _standings(demands, await self._each("peek", _alone(demands)))

    async def reset(self, demands: Sequence[Demand]) -> None:
        """Forget what was counted for these keys, and let them in again."""
        await self._each("reset", _alone(demands))

    async def block(self, demands: Sequence[Demand], seconds: float) -> None:
        """Refuse these keys for some time."""
        await self._each("block", _alone(demands), seconds)

    async def _each(self, name: str, demands: Sequence[Demand], *more: float) -> list[int]:
        """Run a script that looks at each demand by itself."""
        if not self.scattered:
            try:
                return await self._run(name, demands, *more)
            except CrossSlotError:
                self.scattered = True
        replies = [0] * 3 * len(demands)
        for places in self._slots(demands):
            reply = await self._run(name, [demands[place] for place in places], *more)
            for at, place in enumerate(places if reply else ()):
                replies[place * 3 : place * 3 + 3] = reply[at * 3 : at * 3 + 3]
        return replies

    def _slots(self, demands: Sequence[Demand]) -> Iterable[list[int]]:
        """Return where the demands stand that share a slot."""
        slots: dict[str, list[int]] = {}
        for place, demand in enumerate(demands):
            tag = self._words(demand.quota).tag or tag_of(demand.key, self._hash_key)
            slots.setdefault(tag, []).append(place)
        return slots.values()

    def _words(self, quota: Quota) -> _Words:
        words = self._written.get(quota)
        if words is None:
            words = self._written[quota] = _Words(quota)
        return words

    async def _run(self, name: str, demands: Sequence[Demand], *more: float) -> list[int]:
        script = self._scripts[name]
        reply: list[int]
        try:
            reply = await self.wire.ask(self._called(script, demands, more))
        except NoScriptError:  # the server has started since, or somebody has flushed its scripts
            reply = await self.wire.ask(self._write(script.in_full, demands, more))
        return reply

    def _called(self, script: Script, demands: Sequence[Demand], more: Sequence[float]) -> bytes:
        """Return a call. Most are about one key, and differ in its digest only: then the rest is written once."""
        if more or not demands:
            return self._write(script.by_name, demands, more)
        one = demands[0].key
        quotas = []
        for quota, key, cost, sponsor in demands:
            if cost != 1 or sponsor is not None or key != one:
                return self._write(script.by_name, demands, more)
            quotas.append(quota)
        digest = tag_of(one, self._hash_key).encode()
        shape = tuple(quotas)
        around = script.around.get(shape)
        if around is None:
            around = script.around[shape] = self._write(script.by_name, demands, more).split(digest)
        return digest.join(around)

    def _write(self, head: bytes, demands: Sequence[Demand], more: Sequence[float]) -> bytes:
        keys: list[bytes] = []
        packed = b""
        for quota, key, cost, sponsor in demands:
            words = self._words(quota)
            for paying in (key,) if sponsor is None else (key, sponsor):
                named = words.named % tag_of(paying, self._hash_key).encode()
                keys += bulk(named), bulk(named + b":b")
            packed += words.packed + _COST.pack(cost, sponsor is not None)
        args = [bulk(len(keys)), *keys, bulk(packed), *map(bulk, more)]
        return b"*%d\r\n%b%b" % (len(args) + 2, head, b"".join(args))


def _standings(demands: Sequence[Demand], reply: Sequence[int]) -> list[Standing]:
    try:
        numbers = iter(reply)
        rows = zip(demands, numbers, numbers, numbers, strict=True)
        # As Standing(...) makes them, in half the time.
        return [_new(Standing, (it[0], left, wait / 1e6, word > 0, word > 1)) for it, left, wait, word in rows]
    except (TypeError, ValueError):
        raise StoreOutError(f"what answers is no Redis: it says {reply!r:.40}") from None


def _alone(demands: Sequence[Demand]) -> list[Demand]:
    """Return the demands without their sponsors."""
    return [demand._replace(sponsor=None) for demand in demands]
