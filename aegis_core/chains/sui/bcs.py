"""BCS, in which Sui writes transactions: read strictly, so that there is one way to write a thing and no other."""

from __future__ import annotations

_MOST_ITEMS = 4_096


class BcsReader:
    """Bytes, from their beginning on. Every method raises `ValueError` for what is not well-formed."""

    def __init__(self, content: bytes) -> None:
        self._content, self.at = content, 0

    def take(self, size: int) -> bytes:
        """So many bytes."""
        found = self._content[self.at : self.at + size]
        if len(found) != size:
            raise ValueError("ends in the middle")
        self.at += size
        return found

    def number(self, size: int) -> int:
        """A number of so many bytes."""
        return int.from_bytes(self.take(size), "little")

    def length(self) -> int:
        """A length or the number of a variant, in its only right form."""
        value = 0
        for at in range(5):
            byte = self.number(1)
            value |= (byte & 0x7F) << (7 * at)
            if not byte & 0x80:
                if (at and not byte) or value > 0xFFFF_FFFF:
                    break
                return value
        raise ValueError("has a length that is not written in its only right form")

    def count(self) -> int:
        """How many follow. Each takes a byte at least."""
        found = self.length()
        if found > min(_MOST_ITEMS, len(self._content) - self.at):
            raise ValueError("lists more than is there, or than is read")
        return found

    def counted(self) -> bytes:
        """Bytes with their length before them."""
        return self.take(self.length())

    def text(self) -> str:
        """A name of Move, which is plain."""
        found = self.counted()
        if not found or len(found) > 128 or not all(letter in _NAMES for letter in found):
            raise ValueError("has a name that Move does not know")
        return found.decode()

    def address(self) -> str:
        """An address or the id of an object, written out."""
        return "0x" + self.take(32).hex()

    def read_so_far(self) -> bytes:
        """All that was read."""
        return self._content[: self.at]

    def end(self) -> None:
        """See that nothing follows."""
        if self.at != len(self._content):
            raise ValueError("is followed by more bytes")


_NAMES = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_<>")
