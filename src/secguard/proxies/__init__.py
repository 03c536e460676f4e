"""Trusted proxies: who the client is, over which scheme it came, and which host it asked for.

1. Trust nothing unless the other end of the socket is in `trusted`. What a stranger forwards is not even read.
2. All lines of the one configured header are one list. It is walked from the right, where the nearest proxy wrote, past
   trusted addresses. The first one that is not trusted is the client. Nothing to its left can change that.
3. What is no address (`unknown`, an obfuscated name, an empty entry, garbage) ends the walk at the last good hop.
4. Scheme and host are those that belong to the entry the walk ended on. Invalid ones are ignored, and an Event says so.
5. Where the server has already put the client's address in the place of the proxy's, nothing is walked again: the
   address found there says nothing about who wrote the header. An Event says so, once.

Every other policy reads the result: `exchange.client`, `exchange.secure` and `exchange.host`.
"""

from secguard.proxies.resolver import Notice, ProxyResolver
from secguard.proxies.settings import ProxiesSettings

__all__ = ["Notice", "ProxiesSettings", "ProxyResolver"]
