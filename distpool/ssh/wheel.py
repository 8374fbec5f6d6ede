"""This very distpool as a wheel, made of the package as it is imported here: from a checkout, or from where it was
installed. No build tool is needed, and no network.
"""

from __future__ import annotations

import base64
import hashlib
import io
import os
import zipfile
from dataclasses import dataclass
from importlib import metadata

from distpool.errors import ClusterError
from distpool.ssh.on_host import package_digest, package_files

__all__ = ["Wheel", "this_digest", "this_wheel"]

#: A fixed time in the archive: equal content, equal bytes.
_TIME = (1980, 1, 1, 0, 0, 0)
_WHEEL = b"Wheel-Version: 1.0\nGenerator: distpool\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


@dataclass(frozen=True, slots=True)
class Wheel:
    """The bytes of a wheel, and the name of its file."""

    name: str
    data: bytes


def this_digest() -> str:
    """A name for the content of this package: see ``package_digest``."""
    return package_digest(_folder())


def this_wheel() -> Wheel:
    """The wheel. Raises ClusterError: distpool's metadata is not to be found."""
    try:
        installed = metadata.distribution("distpool")
    except metadata.PackageNotFoundError:
        raise ClusterError(
            "distpool is imported here, but not installed, so it is not known what it needs: pip install it first"
        ) from None
    version = installed.version
    info = f"distpool-{version}.dist-info"
    files = {f"distpool/{name}": content for name, content in package_files(_folder())}
    files[f"{info}/METADATA"] = _metadata(installed)
    files[f"{info}/entry_points.txt"] = (installed.read_text("entry_points.txt") or "").encode()
    files[f"{info}/WHEEL"] = _WHEEL
    lines = [f"{name},sha256={_sha256(content)},{len(content)}" for name, content in files.items()]
    files[f"{info}/RECORD"] = ("\n".join([*lines, f"{info}/RECORD,,"]) + "\n").encode()
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as archive:
        for name, content in files.items():
            member = zipfile.ZipInfo(name, _TIME)
            member.external_attr = 0o644 << 16
            archive.writestr(member, content, zipfile.ZIP_DEFLATED)
    return Wheel(f"distpool-{version}-py3-none-any.whl", whole.getvalue())


def _metadata(installed: metadata.Distribution) -> bytes:
    """What an installer reads: older build tools have kept requirements in another file than the rest."""
    kept = installed.metadata
    lines = [f"{name}: {kept[name]}" for name in ("Name", "Version", "Requires-Python") if kept[name]]
    extras = [f"Provides-Extra: {name}" for name in kept.get_all("Provides-Extra") or ()]
    needs = [f"Requires-Dist: {need}" for need in installed.requires or ()]
    return "\n".join(["Metadata-Version: 2.1", *lines, *extras, *needs, ""]).encode()


def _sha256(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


def _folder() -> str:
    return os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
