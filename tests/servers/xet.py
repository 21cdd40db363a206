"""The part of a Xet store that an upload of one large file needs, sent without compression.

A file comes as chunks, packed into xorbs; a shard then says which chunks it is made of. This store
keeps the chunks in the order in which they came, which for one file is that of its bytes; whether
it is, the hash in the commit shows.
"""

import hashlib
from dataclasses import dataclass, field

_HEADER = 8  # of a chunk: version, 3 bytes of packed size, scheme, 3 bytes of size


@dataclass(slots=True)
class XetStore:
    """What was sent.

    Attributes:
        xorbs: Hash to content, in the order in which they came.
        is_odd: Whether it answers the newer way of sending shards in the form of the older one.
    """

    xorbs: dict[str, bytes] = field(default_factory=dict)
    is_odd: bool = False

    def keep(self, name: str, xorb: bytes) -> None:
        """Take a xorb."""
        self.xorbs[name] = unpacked(xorb)

    def file(self) -> tuple[str, bytes]:
        """The file that the chunks are, with its SHA-256."""
        data = b"".join(self.xorbs.values())
        return hashlib.sha256(data).hexdigest(), data


def unpacked(xorb: bytes) -> bytes:
    """The chunks of a xorb, one after the other."""
    found, place = b"", 0
    while place < len(xorb):
        size = int.from_bytes(xorb[place + 1 : place + 4], "little")
        assert xorb[place + 4] == 0, "this store reads no compression"
        place += _HEADER
        found += xorb[place : place + size]
        place += size
    return found
