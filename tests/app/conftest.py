"""A real server process with the bundled pair, as `python app.py` starts it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="session")
def server():
    """Start the app on a free port; yield its address."""
    command = [sys.executable, str(PROJECT / "app.py"), "--port", "0"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        lines = []
        for line in process.stderr:
            lines.append(line)
            if address := re.search(r"http://[\d.:]+", line):
                yield address.group()
                break
        else:
            pytest.fail("the server did not start: " + "".join(lines))
    finally:
        process.terminate()
        process.communicate(timeout=100)  # it ends an export first, if the models were not exported yet
