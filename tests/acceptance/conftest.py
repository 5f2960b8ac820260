"""An installation with servers of its own, which `doctor` may be shown in any state."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.installation import Installation, Servers
from tests.certificates import make_certificate


@pytest.fixture(scope="package")
def own_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    folder = tmp_path_factory.mktemp("servers")
    found = Servers(folder, *make_certificate(folder, "localhost"))
    yield found
    found.close()


@pytest.fixture
def house(own_servers: Servers, tmp_path: Path) -> Installation:
    return Installation(own_servers, tmp_path)
