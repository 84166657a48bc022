"""One client's connection to a server, kept open from request to request."""

from __future__ import annotations

import http.client
import json
import re
from typing import Any, NamedTuple
from urllib.parse import urlsplit

HUNG_AFTER_S = 60.0  # without an answer
_PATH = re.compile("[!-~]*")  # what HTTP can send as it is


class LoadTestError(Exception):
    """The server cannot be tested; one sentence says why."""


class Reply(NamedTuple):
    """An answer of the server."""

    status: int
    body: bytes
    retry_after_s: float = 0.0

    def json(self) -> Any:
        """Return the parsed body.

        Raises:
            LoadTestError: when it is no JSON.
        """
        try:
            return json.loads(self.body)
        except ValueError:
            raise LoadTestError(
                f"The answer is not this project's: {self.body[:60]!r} (status {self.status})."
            ) from None


class Connection:
    """Sends one request at a time and opens itself again after an error; for one thread."""

    def __init__(self, address: str, api_key: str | None = None, timeout_s: float = HUNG_AFTER_S) -> None:
        """Take the server's address, such as http://127.0.0.1:7860; nothing is sent yet.

        Raises:
            LoadTestError: when that is no address.
        """
        try:
            parts = urlsplit(address)
            kind = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}[parts.scheme]
            if not parts.hostname or not _PATH.fullmatch(parts.path):
                raise ValueError("there is no host, or the path cannot be sent")
            parts.hostname.encode("idna")  # as whoever looks it up does
            self._http = kind(parts.hostname, parts.port, timeout=timeout_s)
        except (KeyError, ValueError, http.client.InvalidURL):
            raise LoadTestError(
                f"{address!r} is no address of a server, such as http://127.0.0.1:7860."
            ) from None
        self._address, self._prefix = address, parts.path.rstrip("/")
        self._headers = {"Content-Type": "application/json"}
        if api_key:
            self._headers["Authorization"] = f"Bearer {api_key}"

    def ask(self, method: str, path: str, body: bytes | None = None) -> Reply:
        """Send a request and return its answer, whatever its status.

        Raises:
            TimeoutError: when none came in time.
            OSError: when the connection failed.
            http.client.HTTPException: when the answer was no HTTP.
        """
        try:
            self._http.request(method, self._prefix + path, body, self._headers)
            response = self._http.getresponse()
            retry_after = response.getheader("Retry-After", "")
            return Reply(
                response.status, response.read(), float(retry_after) if retry_after.isdecimal() else 0.0
            )
        except BaseException:
            self._http.close()  # what may still arrive belongs to nobody
            raise

    def ask_surely(self, method: str, path: str, body: bytes | None = None) -> Reply:
        """Do what `ask` does, for requests without which there is no test.

        Raises:
            LoadTestError: when there is no answer.
        """
        try:
            return self.ask(method, path, body)
        except TimeoutError:
            raise LoadTestError(f"The server at {self._address} did not answer in time.") from None
        except (OSError, http.client.HTTPException) as error:
            raise LoadTestError(
                f"No server answers at {self._address} ({error or type(error).__name__}); start one with"
                " python app.py, or leave the address out."
            ) from None

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()
