"""Functions, arguments, results and exceptions to bytes and back. Knows nothing of sockets, tasks or pools.

===================  =====================================================================================
``exporter.py``      the sending side: ``Exporter``
``importer.py``      the receiving side: ``describe_main`` (driver), ``Importer`` (worker), ``loads_result``
``exceptions.py``    ``dump_exception``, ``load_exception``
``plain.py``         what needs no pickle: ``is_plain``, ``PLAIN_TYPES``
``pickler.py``       the one C pickler
``byvalue.py``       taking functions and classes apart; ``rebuild.py`` puts them together
``importable.py``    what can go by reference; ``codes.py``: what a function reads
``registry.py``      who is who in this process: identities, namespaces, captured globals
``scope.py``         what names and cells mean to one exporter; ``units.py``: what must come along with a pickle
``stored.py``        big buffers in the node's object store, and the frame that names them
``carried.py``       references in a pickle; ``kept.py``: a blob that was not loaded yet
``blobs.py``         the frame around a pickle and the definitions that it needs
``explain.py``       the path to what cannot be pickled; ``explain_loading.py``: or unpickled
===================  =====================================================================================
"""

from distpool.scheduler.serialize.blobs import loads
from distpool.scheduler.serialize.byvalue import place_of_variable
from distpool.scheduler.serialize.errors import RemoteError, SerializationError, path_note
from distpool.scheduler.serialize.exceptions import dump_exception, format_remote, load_exception
from distpool.scheduler.serialize.exporter import Exporter, name_of
from distpool.scheduler.serialize.importer import Importer, describe_main, loads_result, process_token
from distpool.scheduler.serialize.kept import Kept
from distpool.scheduler.serialize.plain import INT_MAX, INT_MIN, PLAIN_TYPES, is_plain
from distpool.scheduler.serialize.stored import STORED_BYTES_MIN, Shared, current, ids_of, use

__all__ = [
    "INT_MAX",
    "INT_MIN",
    "PLAIN_TYPES",
    "STORED_BYTES_MIN",
    "Exporter",
    "Importer",
    "Kept",
    "RemoteError",
    "SerializationError",
    "Shared",
    "current",
    "describe_main",
    "dump_exception",
    "format_remote",
    "ids_of",
    "is_plain",
    "load_exception",
    "loads",
    "loads_result",
    "name_of",
    "path_note",
    "place_of_variable",
    "process_token",
    "use",
]
