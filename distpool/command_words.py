"""The words after a command, read so that what is wrong with them is said in a line."""

from __future__ import annotations

import argparse
import sys
from typing import NoReturn

__all__ = ["CommandWords"]


class CommandWords(argparse.ArgumentParser):
    """An ArgumentParser of ``distpool NAME``, whose texts keep the lines that they are written in."""

    def __init__(self, name: str, description: str, epilog: str = "") -> None:
        super().__init__(
            prog=f"distpool {name}",
            description=description,
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    def error(self, message: str) -> NoReturn:
        """One line, and the status of a usage error."""
        print(f"{self.prog}: {message}: see `{self.prog} --help`", file=sys.stderr)
        sys.exit(2)
