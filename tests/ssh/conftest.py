"""Three hosts with SSH servers, and the laptop of somebody who uses them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ssh import sshd
from tests.ssh.sshd import Network


@pytest.fixture(scope="module")
def net() -> Iterator[Network]:
    """Hosts ``a``, ``b``, ``c`` and the laptop; each test ends what it has started on them."""
    if why := sshd.refusal():
        pytest.skip(why)
    with (
        tempfile.TemporaryDirectory(prefix="dp", dir="/tmp") as folder,
        sshd.network(Path(folder), "a", "b", "c") as made,
    ):
        yield made
