"""Image URLs: fetches one from the public internet, and never from the server's own network."""

from __future__ import annotations

import anyio
import httpx

from app.remote.pinned_transport import PinnedTransport
from app.remote.public_addresses import resolve_public
from engines.errors import InvalidInputError

MAX_REDIRECTS = 3
_REDIRECTS = {301, 302, 303, 307, 308}
_PORTS = {"http": 80, "https": 443}
_HEADERS = {
    "Accept": "image/*",
    # Images are compressed already; so nothing has to be unpacked, and no bomb can be.
    "Accept-Encoding": "identity",
    "User-Agent": "SigLIP-as-Server",
}


class ByteBudget:
    """What the URLs of one request may serve together."""

    def __init__(self, most: int) -> None:
        self._most = self._left = most

    def take(self, num_bytes: int) -> None:
        """Count bytes that have come.

        Raises:
            InvalidInputError: when they are too many with those before them.
        """
        self._left -= num_bytes
        if self._left < 0:
            raise InvalidInputError(
                f"the images behind the URLs of one request are larger than {self._most} bytes together"
            )


async def fetch_image(url: str, *, max_bytes: int, budget: ByteBudget, timeout_s: float) -> bytes:
    """Return what a public http or https URL serves, after at most three redirects.

    Each host is resolved once, all its addresses must be public, and one of them is connected to, so that
    a name that changes its mind (DNS rebinding) gains nothing. Neither proxies nor cookies are used.

    Args:
        url: given by a stranger.
        max_bytes: of the body.
        budget: that it takes part of.
        timeout_s: for everything together.

    Raises:
        InvalidInputError: whatever goes wrong; its message tells nothing about this server's network.
    """
    try:
        with anyio.fail_after(timeout_s):
            return await _follow(_parse(url), max_bytes, budget)
    except TimeoutError:
        raise InvalidInputError(f"the image URL was not read within {timeout_s:g} s") from None
    except httpx.HTTPError:
        raise InvalidInputError("the server of the image URL cannot be reached or broke off") from None


async def _follow(url: httpx.URL, max_bytes: int, budget: ByteBudget) -> bytes:
    for _ in range(MAX_REDIRECTS + 1):
        answer = await _get(url, max_bytes, budget)
        if isinstance(answer, bytes):
            return answer
        url = answer
    raise InvalidInputError(f"the image URL redirects more than {MAX_REDIRECTS} times")


async def _get(url: httpx.URL, max_bytes: int, budget: ByteBudget) -> bytes | httpx.URL:
    """Return the body, or the URL to go on with."""
    host = url.raw_host.decode("ascii")
    address = await resolve_public(host, url.port or _PORTS[url.scheme])
    transport = PinnedTransport(url, address)
    async with (
        httpx.AsyncClient(transport=transport, trust_env=False, follow_redirects=False) as client,
        client.stream("GET", url, headers=_HEADERS) as response,
    ):
        if response.status_code in _REDIRECTS and "location" in response.headers:
            return _parse(response.headers["location"], base=url)
        if response.status_code != 200:
            raise InvalidInputError(f"the image URL answered with status {response.status_code}, not 200")
        return await _read(response, max_bytes, budget)


def _parse(text: str, base: httpx.URL | None = None) -> httpx.URL:
    try:
        url = base.join(text) if base else httpx.URL(text)
    except (httpx.InvalidURL, ValueError, TypeError):
        raise InvalidInputError("the image URL is not a valid URL") from None
    if url.scheme not in _PORTS or not url.host:
        raise InvalidInputError("the image URL must begin with http:// or https:// and a host")
    if url.port is not None and not 0 < url.port < 65536:
        raise InvalidInputError("the image URL must have a port between 1 and 65535, or none")
    if url.userinfo:
        raise InvalidInputError("the image URL must not hold a user name or password")
    return url


async def _read(response: httpx.Response, max_bytes: int, budget: ByteBudget) -> bytes:
    """Return the body; stop as soon as it is known to be too large."""
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise InvalidInputError(
            "the image URL answered with a Content-Encoding, which it was asked not to use"
        )
    too_large = InvalidInputError(f"the image behind the URL is larger than {max_bytes} bytes")
    length = response.headers.get("content-length", "")
    if length.isascii() and length.isdigit() and int(length) > max_bytes:
        raise too_large
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > max_bytes:
            raise too_large
        budget.take(len(chunk))
    return bytes(body)
