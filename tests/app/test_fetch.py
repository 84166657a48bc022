"""Image URLs: what a stranger's URL can reach, how much of it is read, and for how long."""

import asyncio
import gzip
import re
import socket

import httpx
import pytest

from app.api.items import ItemReader
from app.remote import public_addresses
from app.remote.fetch import ByteBudget, fetch_image
from app.remote.pinned_transport import PinnedTransport
from engines.errors import InvalidInputError
from engines.worker.cache import EmbeddingCache

pytestmark = pytest.mark.anyio

PICTURE = b"\x89PNG picture"


def answer(body=PICTURE, status="200 OK", **headers):
    lines = [f"HTTP/1.1 {status}", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body


def redirect(location):
    return answer(b"", "302 Found", Location=location, Content_Length=0)


class Web:
    """A server that passes for the internet: hosts and what they resolve to, paths and what they answer."""

    def __init__(self):
        self.pages = {}
        self.hosts = {"pictures.example": [["127.0.0.1"]]}
        self.requests = []
        self.resolved = []

    async def resolve(self, host, port):
        self.resolved.append(host)
        if host not in self.hosts:
            return await self.real_resolve(host, port)
        turns = self.hosts[host]
        return turns.pop(0) if len(turns) > 1 else turns[0]

    async def serve(self, reader, writer):
        try:
            request = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.requests.append(request)
            page = self.pages[request.split()[1]]
            for part in [page] if isinstance(page, bytes) else page:
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(0 if isinstance(page, bytes) else 0.02)
        except (OSError, asyncio.IncompleteReadError):
            pass  # the client has had enough
        finally:
            writer.close()

    def url(self, path="/", host="pictures.example"):
        return f"http://{host}:{self.port}{path}"


@pytest.fixture
async def web(monkeypatch):
    web = Web()
    web.real_resolve, really_public = public_addresses._resolve, public_addresses.is_public
    monkeypatch.setattr(public_addresses, "_resolve", web.resolve)
    monkeypatch.setattr(
        public_addresses, "is_public", lambda address: address == "127.0.0.1" or really_public(address)
    )
    server = await asyncio.start_server(web.serve, "127.0.0.1", 0)
    web.port = server.sockets[0].getsockname()[1]
    yield web
    server.close()


async def fetch(url, max_bytes=1000, timeout_s=5, budget=None):
    budget = budget or ByteBudget(max_bytes)
    return await fetch_image(url, max_bytes=max_bytes, budget=budget, timeout_s=timeout_s)


async def refusal(url, **limits):
    with pytest.raises(InvalidInputError) as caught:
        await fetch(url, **limits)
    message = str(caught.value)
    assert not re.search(r"\d+\.\d+\.\d+\.\d+|::|Error|httpx|\n", message), "it tells about the network"
    return message


async def test_a_picture_is_fetched_under_its_own_name_and_without_secrets(web, monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    web.pages["/cat.png?size=big"] = answer(Content_Length=len(PICTURE))
    assert await fetch(web.url("/cat.png?size=big#part")) == PICTURE
    request = web.requests[0].lower()
    assert f"host: pictures.example:{web.port}\r\n" in request
    assert "accept-encoding: identity" in request
    assert "cookie" not in request
    assert "authorization" not in request


@pytest.mark.parametrize(
    "url",
    [
        *("file:///etc/passwd", "ftp://pictures.example/cat.png", "gopher://pictures.example/", "data:,x"),
        *(
            "cat.png",
            "",
            "//pictures.example/",
            "http://",
            "http:///cat.png",
            "http:/cat.png",
            "https:cat.png",
        ),
        *(
            "http://[::1/",
            "http://pictures.example:99999/",
            "http://pictures.example:0/",
            "http://a\x00b/",
            "http://a\nb/",
            "javascript:0",
        ),
        *("http://user:secret@pictures.example/", "http://user@pictures.example/"),
    ],
)
async def test_only_plain_http_urls_are_taken(web, url):
    assert (await refusal(url)).startswith("the image URL ")
    assert web.resolved == []


@pytest.mark.parametrize(
    "host",
    [
        *(
            "localhost",
            "LOCALHOST",
            "localhost.",
            "127.0.0.2",
            "127.1.1",
            "0.0.0.0",
            "10.1.2.3",
            "192.168.0.1",
        ),
        *("169.254.169.254", "[::1]", "[::]", "[::ffff:10.0.0.1]", "[::ffff:127.0.0.1]", "[fe80::1]"),
        *("[64:ff9b::a9fe:a9fe]", "[2002:7f00:1::1]", "2130706434", "0x7f000002", "0177.0.0.2", "0x7f.2"),
        *("\u2460\u2461\u2466.0.0.2", "\uff11\uff12\uff17.0.0.2", "127\u30020\u30020\u30022"),
    ],
)
async def test_addresses_inside_are_never_connected_to(monkeypatch, host):
    # The real rule: without the fixture's exception for 127.0.0.1.
    monkeypatch.setattr(PinnedTransport, "__init__", lambda *_: pytest.fail("it would connect"))
    assert re.search("not on the public|cannot be found|not a valid URL", await refusal(f"http://{host}/"))


async def test_a_host_with_a_public_and_a_private_address_is_refused(web):
    web.hosts["mixed.example"] = [["127.0.0.1", "10.0.0.1"]]
    assert "not on the public internet" in await refusal(web.url(host="mixed.example"))
    assert web.requests == []


async def test_a_name_that_changes_its_address_is_asked_only_once(web):
    web.hosts["rebinding.example"] = [["127.0.0.1"], ["10.0.0.1"]]
    web.pages["/"] = answer(Content_Length=len(PICTURE))
    assert await fetch(web.url(host="rebinding.example")) == PICTURE
    assert web.resolved == ["rebinding.example"]


async def test_no_library_below_resolves_the_name_again(web, monkeypatch):
    looked_up = []
    real = socket.getaddrinfo
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda host, *a, **k: looked_up.append(host) or real(host, *a, **k)
    )
    web.pages["/"] = answer(Content_Length=len(PICTURE))
    await fetch(web.url())
    assert {host if isinstance(host, str) else host.decode() for host in looked_up} <= {"127.0.0.1"}


async def test_redirects_are_followed_and_may_be_relative(web):
    web.hosts["other.example"] = [["127.0.0.1"]]
    web.pages |= {
        "/a": redirect(web.url("/b/c", host="other.example")),
        "/b/c": redirect("d"),
        "/b/d": redirect("/e"),
        "/e": answer(Content_Length=len(PICTURE)),
    }
    assert await fetch(web.url("/a")) == PICTURE
    assert web.resolved == ["pictures.example", "other.example", "other.example", "other.example"]


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("http://10.0.0.1/", "not on the public internet"),
        ("http://169.254.169.254/latest/meta-data/", "not on the public internet"),
        ("//[::1]/", "not on the public internet"),
        ("http://2130706434/", "not on the public internet"),
        ("file:///etc/passwd", "must begin with http"),
        ("ftp://pictures.example/", "must begin with http"),
        ("http://user:secret@pictures.example/", "must not hold a user name"),
        ("http://pictures.example:port/", "broke off"),
    ],
)
async def test_a_redirect_is_judged_like_the_url_itself(web, location, reason):
    web.pages["/"] = redirect(location)
    assert reason in await refusal(web.url())
    assert len(web.requests) == 1


async def test_a_host_that_turns_private_at_the_redirect_is_refused(web):
    web.hosts["rebinding.example"] = [["127.0.0.1"], ["10.0.0.1"]]
    web.pages["/"] = redirect("/again")
    assert "not on the public internet" in await refusal(web.url(host="rebinding.example"))


async def test_a_redirect_loop_ends(web):
    web.pages["/"] = redirect("/")
    assert "more than 3 times" in await refusal(web.url())
    assert len(web.requests) == 4


async def test_cookies_are_not_carried_along(web):
    web.pages |= {
        "/": answer(b"", "302 Found", Location="/b", Set_Cookie="a=b", Content_Length=0),
        "/b": answer(Content_Length=len(PICTURE)),
    }
    await fetch(web.url())
    assert "cookie" not in web.requests[1].lower()


async def test_a_body_as_large_as_allowed_is_taken(web):
    web.pages["/"] = answer(b"x" * 1000, Content_Length=1000)
    assert len(await fetch(web.url())) == 1000


async def test_what_several_urls_bring_is_counted_together(web):
    web.pages["/"] = answer(b"x" * 600, Content_Length=600)
    budget = ByteBudget(1000)
    assert len(await fetch(web.url(), budget=budget)) == 600
    assert "larger than 1000 bytes together" in await refusal(web.url(), budget=budget)


async def test_the_urls_of_one_request_share_a_budget(web, red_png):
    picture = red_png.read_bytes()
    web.pages["/"] = answer(picture, Content_Length=len(picture))
    reader = ItemReader(
        max_images=9,
        max_texts=9,
        allow_urls=True,
        max_fetched_bytes=2 * len(picture),
        min_side=1,
        cache=EmbeddingCache(),
    )
    for _ in range(2):  # each request has its own
        *read, refused = sorted(await reader.read_images([web.url()] * 3, "images"), key=str)
        assert len(read) == 2
        assert "of one request are larger than" in str(refused)


async def test_a_length_that_is_too_large_is_refused_before_the_body(web):
    web.pages["/"] = answer(b"", Content_Length=1001)  # of which nothing ever comes
    assert "larger than 1000 bytes" in await refusal(web.url())


async def test_a_body_without_a_length_is_cut_where_it_gets_too_large(web):
    sent = []

    def endless():
        yield answer(b"")
        while True:
            sent.append(1)
            yield b"x" * 400

    web.pages["/"] = endless()
    assert "larger than 1000 bytes" in await refusal(web.url())
    assert len(sent) < 20


async def test_a_chunked_body_is_counted(web):
    web.pages["/"] = [answer(b"", Transfer_Encoding="chunked"), *[b"190\r\n" + b"x" * 400 + b"\r\n"] * 3]
    assert "larger than 1000 bytes" in await refusal(web.url())


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate", "identity, gzip"])
async def test_a_bomb_is_never_unpacked(web, encoding):
    bomb = gzip.compress(b"\0" * 900_000)
    web.pages["/"] = answer(bomb, Content_Encoding=encoding, Content_Length=len(bomb))
    assert "Content-Encoding" in await refusal(web.url())


async def test_a_slow_trickle_is_given_up(web):
    web.pages["/"] = [answer(b"", Content_Length=500), *[b"x"] * 500]
    assert "within 0.1 s" in await refusal(web.url(), timeout_s=0.1)


async def test_the_time_holds_for_all_redirects_together(web):
    web.pages |= {f"/{i}": [b"", b"", b"", redirect(f"/{i + 1}")] for i in range(4)}
    assert "within 0.15 s" in await refusal(web.url("/0"), timeout_s=0.15)


async def test_a_resolver_that_hangs_is_given_up(web, monkeypatch):
    async def hang(host, port):
        await asyncio.sleep(60)

    monkeypatch.setattr(public_addresses, "_resolve", hang)
    assert "within 0.05 s" in await refusal(web.url(), timeout_s=0.05)


@pytest.mark.parametrize(
    "status", ["404 Not Found", "500 Oops", "204 No Content", "206 Part", "304 Same", "302 X"]
)
async def test_only_a_whole_answer_is_a_picture(web, status):
    web.pages["/"] = answer(b"", status)
    assert f"status {status[:3]}, not 200" in await refusal(web.url())


@pytest.mark.parametrize("page", [b"", b"not http at all\r\n\r\n", answer(b"half", Content_Length=9)])
async def test_a_broken_answer_is_the_urls_fault(web, page):
    web.pages["/"] = page
    assert "cannot be reached or broke off" in await refusal(web.url())


async def test_a_closed_port_is_the_urls_fault(web):
    assert "cannot be reached" in await refusal("http://pictures.example:1/")


async def test_a_server_that_does_not_speak_tls_is_the_urls_fault(web):
    async with await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        assert "cannot be reached" in await refusal(f"https://pictures.example:{port}/")


async def test_a_cancelled_caller_stays_cancelled(web):
    web.pages["/"] = [answer(b"", Content_Length=500), *[b"x"] * 500]
    task = asyncio.ensure_future(fetch(web.url()))
    while not web.requests:
        await asyncio.sleep(0.001)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_the_pinned_transport_keeps_host_port_brackets_and_the_ascii_name(monkeypatch):
    seen = []

    async def handle(self, request):
        seen.append((str(request.url), request.headers["host"], request.extensions["sni_hostname"]))
        return httpx.Response(200)

    monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", handle)
    for url in ("https://b\u00fccher.example:8443/x", "https://[2606:4700::1111]/"):
        parsed = httpx.URL(url)
        await PinnedTransport(parsed, "2606:4700::1").handle_async_request(httpx.Request("GET", parsed))
    assert seen == [
        ("https://[2606:4700::1]:8443/x", "xn--bcher-kva.example:8443", "xn--bcher-kva.example"),
        ("https://[2606:4700::1]/", "[2606:4700::1111]", "2606:4700::1111"),
    ]
