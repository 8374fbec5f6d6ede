"""What this package itself raises, and the notes that it hangs on other people's exceptions.

When something cannot be pickled, the *original* exception is raised again, of the very type that pickle or the
user's ``__reduce__`` raised (TypeError, AttributeError, PicklingError, ...), so that ``except`` clauses written for
``multiprocessing`` keep working. What is added is a note that names the path to the culprit::

    TypeError: cannot pickle '_thread.lock' object
    distpool: at args[0].connection._lock: cannot pickle '_thread.lock' object

A SerializationError is raised only where there is no original: a blob that names something unknown here.
"""

from __future__ import annotations

import pickle

NOTE_PREFIX = "distpool: "


class SerializationError(pickle.PicklingError):
    """A blob cannot be made or understood here, for a reason of our own; the text names cause and remedy."""


class RemoteError(Exception):
    """Stands in for a remote exception whose own type could not be sent or rebuilt.

    ``type_name`` is the dotted name of the real type, ``text`` its ``str()``, ``reason`` why it did not travel.
    """

    def __init__(self, type_name: str, text: str, reason: str = "") -> None:
        super().__init__(type_name, text, reason)
        self.type_name = type_name
        self.text = text
        self.reason = reason

    def __str__(self) -> str:
        why = f" (its type could not be sent: {self.reason})" if self.reason else ""
        return f"{self.type_name}: {self.text}{why}"


def add_note_once(error: BaseException, text: str) -> None:
    """Add a line to what a traceback prints below ``error``, unless it is already there."""
    note = NOTE_PREFIX + text
    if note not in getattr(error, "__notes__", ()):
        error.add_note(note)


def path_note(error: BaseException) -> str | None:
    """The line that names the offending attribute, without its prefix; None if ``error`` has none."""
    for note in getattr(error, "__notes__", ()):
        if isinstance(note, str) and note.startswith(NOTE_PREFIX + "at "):
            return note[len(NOTE_PREFIX) :]
    return None
