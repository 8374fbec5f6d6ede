"""A descriptor that another thread, or a signal handler, makes readable to end a poll."""

from __future__ import annotations

import os


class Waker:
    """``wake`` from anywhere; ``fd`` polls readable until ``clear``."""

    def __init__(self) -> None:
        if hasattr(os, "eventfd"):
            self.fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            self._write_fd = self.fd
        else:  # macOS
            self.fd, self._write_fd = os.pipe()
            os.set_blocking(self.fd, False)
            os.set_blocking(self._write_fd, False)

    def wake(self) -> None:
        """Make the descriptor readable. Safe after ``close``, and from a signal handler."""
        try:
            os.write(self._write_fd, b"\1\0\0\0\0\0\0\0")
        except OSError:
            pass  # full: it is readable already; closed: nobody listens

    def clear(self) -> None:
        """Make it unreadable again."""
        try:
            os.read(self.fd, 4096)
        except OSError:
            pass

    def close(self) -> None:
        """Give the descriptors back."""
        fds, self.fd, self._write_fd = {self.fd, self._write_fd}, -1, -1
        for fd in fds:
            if fd >= 0:
                os.close(fd)
