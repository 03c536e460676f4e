"""Who may come in, by address: lists from settings, from files that change, and from code; everywhere and by path.

1. The address is the one that `proxies` found. What a client writes into a header counts only behind a trusted proxy.
2. `deny` wins. Where somebody says who may come in, nobody else may: a rule without an `allow` lets nobody in.
3. A file is read again when it changes, and a `NetworkList` obeys code at once. No request waits for either.
4. A lookup does not get slower with the list: it is a binary search, remembered for those who come again.
"""

from secguard.ip_access.lists import NetworkFile, NetworkList
from secguard.ip_access.policy import IPAccessMiddleware, IPAccessPolicy
from secguard.ip_access.settings import IPAccessFields, IPAccessRule, IPAccessSettings

__all__ = [
    "IPAccessFields",
    "IPAccessMiddleware",
    "IPAccessPolicy",
    "IPAccessRule",
    "IPAccessSettings",
    "NetworkFile",
    "NetworkList",
]
