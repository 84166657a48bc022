"""httpx with the patience that a busy machine needs: its own is five seconds."""

from functools import partial

import httpx

TIMEOUT_S = 60
get = partial(httpx.get, timeout=TIMEOUT_S)
post = partial(httpx.post, timeout=TIMEOUT_S)
Client = partial(httpx.Client, timeout=TIMEOUT_S)
