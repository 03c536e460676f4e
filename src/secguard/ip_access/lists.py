"""Lists that change: networks that code adds and takes away, and networks in a file."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Network, IPv6Network, ip_network
from threading import Lock
from typing import Final, NamedTuple, Self, TypeAlias

from secguard._networks import Address, Network, Networks, NetworksError, check_network

Entry: TypeAlias = str | Address | Network

_BITS: Final = {4: 32, 6: 128}
_KIND: Final = {4: IPv4Network, 6: IPv6Network}
# The leading bits of the networks of one length, by IP version and by how many bits are free behind them.
_Groups: TypeAlias = dict[tuple[int, int], set[int]]


class NetworkList:
    """Networks that code adds and takes away while the app runs. It may stand among those of `allow` and `deny`.

    A change holds for the next request. Any thread may make one, and none waits for long. A list of a thousand bans is
    what this is for; a million networks are better kept in a file, where they take a tenth of the memory.

    Raises:
        ValueError: an entry is no address and no network, or has host bits.

    Example:
        >>> banned = NetworkList(["192.0.2.0/24"])
        >>> settings = Settings(ip_access={"deny": ["198.51.100.7", banned]})
        >>> banned.add("203.0.113.9")
        >>> sorted(banned)
        ['192.0.2.0/24', '203.0.113.9']
    """

    __slots__ = ("_groups", "_lock")

    def __init__(self, networks: Iterable[Entry] = ()) -> None:
        self._lock = Lock()
        self._groups: _Groups = {}
        self.add(*networks)

    def add(self, *networks: Entry) -> None:
        """Add networks; those that are there already change nothing."""
        keys = [_key(network) for network in networks]
        with self._lock:
            # The mapping is replaced, never changed: others may be going through it.
            groups = {**{group: set[int]() for group, _ in keys}, **self._groups}
            for group, bits in keys:
                groups[group].add(bits)
            self._groups = groups

    def discard(self, *networks: Entry) -> None:
        """Take networks away, if they are there: these very ones, not what they hold."""
        keys = [_key(network) for network in networks]
        with self._lock:
            for group, bits in keys:
                self._groups.get(group, set()).discard(bits)
            self._groups = {group: held for group, held in self._groups.items() if held}

    def replace(self, networks: Iterable[Entry]) -> None:
        """Put these networks in the place of all that are there, at once: no request meets half of them."""
        groups = NetworkList(networks)._groups
        with self._lock:
            self._groups = groups

    def __contains__(self, address: Address, /) -> bool:
        version, value = address.version, int(address)
        return any(own == version and value >> free in held for (own, free), held in self._groups.items())

    def __len__(self) -> int:
        return sum(map(len, self._groups.values()))

    def __iter__(self) -> Iterator[str]:
        """Yield the networks, as they are now."""
        with self._lock:
            held = [(group, bits) for group, every in self._groups.items() for bits in every]
        for (version, free), bits in held:
            yield check_network(str(_KIND[version]((bits << free, _BITS[version] - free))))

    def __repr__(self) -> str:
        return f"<NetworkList of {len(self)}>"


def _key(entry: Entry) -> tuple[tuple[int, int], int]:
    network = ip_network(check_network(str(entry)))
    free = network.max_prefixlen - network.prefixlen
    return (network.version, free), int(network.network_address) >> free


class Stamp(NamedTuple):
    """What tells one state of a file from another: a new inode is a rename, the times and the size an edit in place."""

    device: int
    inode: int
    size: int
    modified: int
    changed: int

    @classmethod
    def of(cls, status: os.stat_result) -> Self:
        """Return that of a file; times are in nanoseconds."""
        return cls(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


class UnreadableError(ValueError):
    """A file of networks cannot be read, or lines of it are no networks. The message says which, and why."""


class NetworkFile:
    """A file with one network a line, as it was when it was read: what a path in `allow_files` or `deny_files` becomes.

    Example:
        >>> NetworkFile.read("office.txt").networks
        <secguard._networks.Networks object at ...>
    """

    __slots__ = ("networks", "path", "stamp")

    def __init__(self, path: str, stamp: Stamp, networks: Networks) -> None:
        self.path = path
        self.stamp = stamp
        self.networks = networks

    @classmethod
    def read(cls, path: str) -> Self:
        """Read the file.

        Raises:
            UnreadableError: it cannot be read, or lines of it are no networks.
        """
        path = os.path.abspath(path)  # whoever changes the working directory later must not change the list
        try:
            if not stat.S_ISREG(os.stat(path).st_mode):  # to open a pipe would be to wait for whoever writes into it
                raise OSError(errno.EINVAL, "it is no regular file")
            # A comment may be written in anything. What cannot be decoded is in no case a network.
            with open(path, encoding="utf-8-sig", errors="replace") as lines:
                # Taken first: what is written while we read makes another stamp, and is read next time.
                stamp = Stamp.of(os.fstat(lines.fileno()))
                return cls(path, stamp, Networks(lines))
        except NetworksError as error:
            problem = f"{path} has lines that are no networks: {error}"
        except (OSError, ValueError) as error:
            problem = f"{path} cannot be read: {getattr(error, 'strerror', None) or error}"
        raise UnreadableError(problem)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, NetworkFile) and self.path == other.path

    def __hash__(self) -> int:
        return hash(self.path)

    def __str__(self) -> str:
        return self.path

    def __repr__(self) -> str:
        return f"NetworkFile({self.path!r})"


def stamp_of(path: str) -> Stamp | None:
    """Return the stamp of a file, or None where there is none to see."""
    try:
        return Stamp.of(os.stat(path))
    except OSError:
        return None
