from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.servers import server_directory


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory of the test's own with a short path."""
    with server_directory() as lent:
        yield lent
