"""A real server process with the bundled pair, as `python app.py` starts it."""

import pytest

from tests.app.processes import running


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """Start the app on a free port; yield its address."""
    with running(tmp_path_factory.mktemp("server")) as process:
        yield process.address
