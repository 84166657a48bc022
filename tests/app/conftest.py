"""A real server process with the bundled pair, as `python app.py` starts it."""

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

PROJECT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """Start the app on a free port; yield its address."""
    log = tmp_path_factory.mktemp("server") / "log.txt"  # a pipe that nobody reads would fill up
    with log.open("w") as output:
        command = [sys.executable, str(PROJECT / "app.py"), "--port", "0"]
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        while not (address := re.search(r"http://[\d.:]+", log.read_text())):
            if process.poll() is not None:
                pytest.fail(f"the server did not start: {log.read_text()}")
            time.sleep(0.05)
        yield address.group()
    finally:
        process.terminate()
        process.wait(timeout=100)  # it ends an export first, if the models were not exported yet
