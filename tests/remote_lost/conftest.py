"""Lost objects of this process's own session; every test gives back what it took."""

from tests.processes.conftest import engine as engine
from tests.processes.conftest import leaks as leaks
from tests.processes.conftest import own_tmpdir as own_tmpdir
