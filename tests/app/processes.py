"""Server processes: started on a free port, their log in a file, ended by a signal."""

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

PROJECT = Path(__file__).parent.parent.parent


class ServerProcess:
    """A running server: its address, and how it ends."""

    def __init__(self, command, log, env=None):
        self.log = log  # a pipe that nobody reads would fill up
        with log.open("w") as output:
            self.process = subprocess.Popen(
                command, stdout=output, stderr=subprocess.STDOUT, env=env, cwd=PROJECT
            )
        self.address = self._wait_for_address()

    def _wait_for_address(self):
        while not (found := re.search(r"http://[\d.:]+", self.log.read_text())):
            if self.process.poll() is not None:
                raise AssertionError(f"the server did not start: {self.log.read_text()}")
            time.sleep(0.05)
        return found.group()

    def stop(self, timeout_s=100):
        """Send SIGTERM and return the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout=timeout_s)  # it ends an export first, if that is needed
        finally:
            self.process.kill()


@contextmanager
def running(folder, *arguments, script="app.py", env=None):
    """Run a script that starts a server; yield it."""
    env = {"SIGLIP_DEMO_GALLERY": "false", "SIGLIP_INDEX_DIR": str(folder / "indexes"), **(env or os.environ)}
    server = ServerProcess([sys.executable, script, "--port", "0", *arguments], folder / "log.txt", env)
    try:
        yield server
    finally:
        server.stop()
