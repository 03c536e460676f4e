"""What goes to a Redis or Valkey server and comes back: one command at a time, over connections that are kept."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from secguard.store.backend import StoreOutError
from secguard.store.patience import Patience

if TYPE_CHECKING:
    from redis.asyncio import ConnectionPool

SCHEMES: Final = {
    "redis": "redis",
    "rediss": "rediss",
    "redis+unix": "unix",
    "valkey": "redis",
    "valkeys": "rediss",
    "valkey+unix": "unix",
}


def pool_of(url: str) -> ConnectionPool:
    """Return what connections a URL asks for. As a pool it is not used: a breaker and a list do with less.

    Raises:
        TypeError, ValueError: it has an option that is unknown, or a value that is none.
    """
    from redis.asyncio import ConnectionPool  # noqa: PLC0415 - an extra
    from redis.asyncio.retry import Retry  # noqa: PLC0415 - an extra
    from redis.backoff import NoBackoff  # noqa: PLC0415 - an extra

    scheme, rest = url.split("://", 1)
    return ConnectionPool.from_url(
        f"{SCHEMES[scheme]}://{rest}",
        retry=Retry(NoBackoff(), 0),  # that is for the calls to say
        # A call has one timeout for all of it, its Patience.
        socket_timeout=None,
        socket_connect_timeout=None,
        protocol=2,  # the other one costs a connection more round trips at its start, and has nothing for us
    )


def written(*command: str | bytes | float) -> bytes:
    """Return a command as a server reads it: an array of bulk strings, in RESP. redis-py takes a while longer."""
    return b"*%d\r\n%b" % (len(command), b"".join(map(bulk, command)))


def bulk(part: str | bytes | float) -> bytes:
    """Return one word of a command."""
    data = part.encode() if isinstance(part, str) else part if isinstance(part, bytes) else b"%r" % part
    return b"$%d\r\n%b\r\n" % (len(data), data)


class NoScriptError(Exception):
    """The server does not know the script."""


class CrossSlotError(Exception):
    """The server is a cluster, and the keys of one call do not stand in one slot."""


class Wire:
    """The connections to a server. It serves one event loop at a time, that of asyncio.

    Args:
        url: of the server.
        timeout: of a call, in seconds.
    """

    def __init__(self, url: str, timeout: float) -> None:
        from redis import exceptions  # noqa: PLC0415 - an extra

        self._errors = exceptions
        self._pool = pool_of(url)
        self._timeout = timeout
        self._patience = Patience(timeout)
        self._loop: asyncio.AbstractEventLoop | None = None
        self.idle: list[Any] = []  # connections, which have no types

    async def close(self) -> None:
        """Close all connections. What comes afterwards opens new ones."""
        idle, self.idle = self._connections(), []
        for connection in idle:
            with suppress(TimeoutError):  # of a server that does not answer the end of TLS
                await self._patience.wait(connection.disconnect())

    async def ask(self, command: bytes) -> Any:
        """Send a command and return the reply.

        Raises:
            NoScriptError, CrossSlotError: the server says so.
            StoreOutError: there was no reply, or it was another error.
        """
        try:
            return await self._patience.wait(self._exchange(command))
        except self._errors.NoScriptError:
            raise NoScriptError from None
        except TimeoutError:
            raise StoreOutError(f"no answer in {self._timeout} s") from None
        except Exception as error:  # whatever it is, it is no count
            # redis-py has no type of error for it before 6.
            if isinstance(error, self._errors.ClusterCrossSlotError) or str(error).startswith("CROSSSLOT"):
                raise CrossSlotError from None
            raise StoreOutError(f"{type(error).__name__}: {error}") from error

    async def _exchange(self, command: bytes) -> Any:
        """Send a command and return the reply, over a connection that nobody else has meanwhile."""
        idle = self._connections()
        connection = idle.pop() if idle else self._pool.connection_class(**self._pool.connection_kwargs)
        answered = False
        try:
            try:
                await connection.send_packed_command(command, check_health=False)
                reply = await connection.read_response()
            except self._errors.ConnectionError:
                # It may have died with a server that has come back since. So one more try, on a new one.
                await connection.send_packed_command(command, check_health=False)
                reply = await connection.read_response()
            answered = True
        except self._errors.ResponseError:
            answered = True
            raise
        finally:
            # One that was left before its reply came would give that to the next.
            if answered and idle is self.idle:
                idle.append(connection)
            else:
                await connection.disconnect(nowait=True)
        return reply

    def _connections(self) -> list[Any]:
        """Return the connections that nobody uses."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:  # connections belong to a loop
            self._loop, self.idle = loop, []
        return self.idle
