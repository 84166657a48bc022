"""Serve an app until SIGTERM or Ctrl+C, and finish what is in work before leaving."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI

from app.services import Services

logger = logging.getLogger(__name__)

_THIS_MACHINE = ("127.0.0.1", "::1")
_QUIET_S = 0.3  # nothing in work for so long: what still runs are the streams of open pages
_LOOKS_PER_S = 20
_KEEP_ALIVE_S = 75  # longer than the proxies in front of it keep theirs, so that they close first


class GracefulServer(uvicorn.Server):
    """Stops in order: no new connections, no new work, the end of what runs, then the open pages.

    uvicorn alone would wait for the event streams of open pages until its time is over, and would end
    by the signal that it got instead of with exit code 0.
    """

    def __init__(
        self,
        api: FastAPI,
        services: Services,
        *,
        root_path: str,
        trusted_proxies: Sequence[str],
        grace_s: float,
    ) -> None:
        """Take an app and its services.

        Args:
            api: what to serve.
            services: tell whether there is work.
            root_path: the prefix under which a proxy serves the app.
            trusted_proxies: addresses and networks; X-Forwarded-For of others is not believed.
            grace_s: for what is in work.
        """
        config = uvicorn.Config(
            api,
            log_level="warning",  # its access log would hold query strings; app.api has one of its own
            root_path=root_path,
            forwarded_allow_ips=[*_THIS_MACHINE, *trusted_proxies],
            timeout_graceful_shutdown=max(int(grace_s), 1),
            timeout_keep_alive=_KEEP_ALIVE_S,
        )
        super().__init__(config)
        self._services = services
        self._grace_s = grace_s

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle signals as uvicorn does, but do not raise them again afterwards."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {kind: signal.signal(kind, self.handle_exit) for kind in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for kind, handler in before.items():
                signal.signal(kind, handler)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Refuse new work, wait for the old, then end the streams that are left."""
        streams = asyncio.get_running_loop().create_task(self._end_streams())
        await super().shutdown(sockets)
        streams.cancel()

    async def _end_streams(self) -> None:
        pool, metrics = self._services.pool, self._services.metrics
        # Nobody waits for an index: its job is stopped, and goes on when somebody repeats it.
        await asyncio.gather(pool.drain(self._grace_s), self._services.galleries.close())
        quiet = 0
        while quiet < _QUIET_S * _LOOKS_PER_S:
            await asyncio.sleep(1 / _LOOKS_PER_S)
            quiet = 0 if metrics.in_work or pool.is_busy else quiet + 1
        for task in list(self.server_state.tasks):
            task.cancel()


def listen(host: str, port: int) -> socket.socket:
    """Bind the port before anything slow happens, so that a taken one is reported at once.

    Raises:
        OSError: one sentence, when that is not possible.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio switches Nagle's algorithm off only for sockets that say they are TCP; with it, and with
    # delayed acknowledgements, each answer on a connection that is kept open takes 40 ms longer.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(1024)
    except OSError as error:
        listener.close()
        raise OSError(
            f"cannot listen on {host}:{port} ({error.strerror}); choose another with --port or SIGLIP_PORT"
        ) from None
    return listener


def address_to_show(listener: socket.socket) -> str:
    """Return the address that a browser on this machine opens."""
    host, port = listener.getsockname()[:2]
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{shown}:{port}"
