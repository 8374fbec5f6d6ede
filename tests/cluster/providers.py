"""Providers of nodes with something wrong. What they did is written to the file that PROVIDER_STORY names."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from pathlib import Path

from distpool.providers import ProviderError
from distpool.providers.local import LocalProvider
from distpool.providers.protocol import NodeType


def note(word: str) -> int:
    """How often it was written, this time included."""
    path = Path(os.environ["PROVIDER_STORY"])
    with path.open("a") as file:
        file.write(f"{word}\n")
    return path.read_text().split().count(word)


class FailsOnce(LocalProvider):
    """The first start raises, the others are well."""

    def start(self, node_type: NodeType, name: str) -> None:
        if note("start") == 1:
            raise ProviderError("there is no machine left")
        super().start(node_type, name)


class HangsOnce(LocalProvider):
    """The first start never comes back."""

    def start(self, node_type: NodeType, name: str) -> None:
        if note("start") == 1:
            threading.Event().wait()
        super().start(node_type, name)


class DiesOnce(LocalProvider):
    """The first start takes the whole process along; so does the first list behind it."""

    def start(self, node_type: NodeType, name: str) -> None:
        if note("start") == 1:
            os._exit(3)
        super().start(node_type, name)

    def nodes(self) -> Mapping[str, str]:
        if note("nodes") == 2:
            os._exit(4)
        return super().nodes()
