"""An HTTP transport that connects to one address, whatever the URL's host resolves to by then."""

from __future__ import annotations

import functools
import ssl

import httpx
from safehttpx import AsyncSecureTransport  # type: ignore[import-untyped]


@functools.cache
def _ssl_context() -> ssl.SSLContext:
    """Read the certificate authorities once; it takes 25 ms."""
    return httpx.create_ssl_context()


class _FaithfulTransport(httpx.AsyncHTTPTransport):
    """What safehttpx's transport stands on: repairs what it loses of the request.

    safehttpx 0.1.7 drops the port from `Host`, an IPv6 address's brackets with it, and the timeouts, and
    asks for certificates by a name's Unicode form, which TLS does not know.
    """

    def __init__(self) -> None:
        super().__init__(verify=_ssl_context(), trust_env=False)
        self.url = httpx.URL()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        request.headers["Host"] = self.url.netloc.decode("ascii")
        request.extensions = {"sni_hostname": self.url.raw_host.decode("ascii")}
        return await super().handle_async_request(request)


class PinnedTransport(AsyncSecureTransport, _FaithfulTransport):  # type: ignore[misc]
    """Sends one request to `address` instead of asking for the address of the URL's host again."""

    def __init__(self, url: httpx.URL, address: str):
        """Connect to `address` for `url`, of which the certificate and `Host` still are."""
        super().__init__(address)  # type: ignore[call-arg]
        self.url = url
