"""A second, clean interpreter that plays the worker: blobs in and out over a pair of pipes."""

from __future__ import annotations

import io
import os
import pickle
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

from distpool.scheduler.serialize import current, describe_main, ids_of, load_exception, loads_result, use
from tests.serialize.directory_store import DirectoryStore

ROOT = Path(__file__).parent.parent.parent
DRIVER = 1 << 31


class Worker:
    """The driver's end. ``start`` gives the worker a ``__main__`` like ours; ``call`` runs one task there."""

    def __init__(self) -> None:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        # A file rather than -c, so that nothing of the test session is inherited but the pipes.
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
        )

    def start(self) -> None:
        self._ask("main", describe_main())

    def use_store(self, directory: Path | None) -> None:
        """From now on the worker sees the objects in ``directory``, and puts its big results there."""
        self._ask("store", directory)

    def call(self, exporter: Any, function: Any, *args: Any) -> Any:
        _, blob, keep = exporter.function(function)
        answer = self.call_blobs(blob, exporter.dumps(args))
        del keep  # until now
        return answer

    def call_blobs(self, function: bytes, args: bytes) -> Any:
        outcome, answer = self._ask("call", function, args)
        if outcome == "raised":
            raise load_exception(answer)
        store = current()
        held = store.claim(ids_of(answer)) if store is not None else None
        result = loads_result(answer)
        del held
        return result

    def _ask(self, *question: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        _send(self._process.stdin, question)
        return _receive(self._process.stdout)

    def close(self) -> None:
        with self._process:
            assert self._process.stdin is not None
            self._process.stdin.close()


def _send(pipe: Any, message: Any) -> None:
    data = pickle.dumps(message)
    pipe.write(struct.pack("!I", len(data)) + data)
    pipe.flush()


def _receive(pipe: Any) -> Any:
    head = pipe.read(4)
    if len(head) < 4:
        raise EOFError
    return pickle.loads(pipe.read(struct.unpack("!I", head)[0]))


def serve() -> None:
    """The worker's end."""
    from distpool.scheduler.serialize import Importer

    with io.FileIO(os.dup(1), "w") as sink:
        os.dup2(2, 1)  # what tasks print must not get among the blobs
        _serve(Importer(), sys.stdin.buffer, sink)


def _serve(importer: Any, source: Any, sink: Any) -> None:
    while True:
        try:
            kind, *blobs = _receive(source)
        except EOFError:
            return
        if kind == "main":
            importer.prepare_main(*blobs)
            _send(sink, None)
            continue
        if kind == "store":
            (directory,) = blobs
            use(None if directory is None else DirectoryStore(directory))
            _send(sink, None)
            continue
        try:
            function, args = map(importer.loads, blobs)
            answer = ("returned", importer.dumps_result(function(*args), keep=[], holder=DRIVER))
            del function, args
        except BaseException as error:
            answer = ("raised", importer.dump_exception(error, note="from the worker"))
        _send(sink, answer)


if __name__ == "__main__":
    serve()
