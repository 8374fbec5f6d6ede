"""Messages on a byte stream: four bytes of length, little-endian, then the encoded message.

Spoken between agent and nursery on their socket pair.
"""

from __future__ import annotations

LENGTH_BYTES = 4


def frame(data: bytes) -> bytes:
    """One frame around ``data``."""
    return len(data).to_bytes(LENGTH_BYTES, "little") + data


class Frames:
    """Takes in bytes as they come and gives out whole frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The frames that ``data`` completes; the rest is kept."""
        buffer = self._buffer
        buffer += data
        whole: list[bytes] = []
        at = 0
        while len(buffer) - at >= LENGTH_BYTES:
            end = at + LENGTH_BYTES + int.from_bytes(buffer[at : at + LENGTH_BYTES], "little")
            if end > len(buffer):
                break
            whole.append(bytes(buffer[at + LENGTH_BYTES : end]))
            at = end
        del buffer[:at]
        return whole
