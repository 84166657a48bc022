"""Public addresses: no spelling and no wrapping makes a private one look like one."""

import socket

import pytest

from app.remote import public_addresses
from app.remote.public_addresses import is_public, resolve_public
from engines.errors import InvalidInputError


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "93.184.216.34", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_addresses_of_the_internet_are_public(address):
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        *("0.0.0.0", "127.0.0.1", "127.9.9.9", "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1"),
        *("169.254.169.254", "224.0.0.1", "240.0.0.1", "255.255.255.255", "192.0.0.192", "198.18.0.1"),
        *("100.100.100.200", "168.63.129.16", "203.0.113.7"),
        *("::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "fec0::1", "ff02::1"),
        *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:a9fe:a9fe", "::127.0.0.1", "::ffff:0:127.0.0.1"),
        *("64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::808:808"),  # NAT64
        *("2002:7f00:1::", "2002:a00:1::1", "2001:0:7f00:1::1", "2001:db8::1"),  # 6to4, Teredo
        *("", "localhost", "8.8.8.8.8", "1"),
    ],
)
def test_other_addresses_are_not(address):
    assert not is_public(address)


@pytest.mark.anyio
@pytest.mark.parametrize("host", ["localhost", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "::1"])
async def test_whatever_the_system_takes_for_this_machine_is_refused(host):
    with pytest.raises(InvalidInputError, match=r"not on the public internet|cannot be found"):
        await resolve_public(host, 80)


@pytest.mark.anyio
async def test_one_private_address_among_public_ones_refuses_the_host(monkeypatch):
    resolves_to(monkeypatch, "8.8.8.8", "2606:4700::1111", "10.0.0.1")
    with pytest.raises(InvalidInputError, match="not on the public internet") as caught:
        await resolve_public("mixed.example", 80)
    assert "10.0.0.1" not in str(caught.value)


@pytest.mark.anyio
async def test_ipv4_is_preferred_because_every_machine_has_it(monkeypatch):
    resolves_to(monkeypatch, "2606:4700::1111", "8.8.8.8")
    assert await resolve_public("both.example", 80) == "8.8.8.8"


@pytest.mark.anyio
@pytest.mark.parametrize("failure", [socket.gaierror("no"), UnicodeError("label too long")])
async def test_a_host_that_cannot_be_resolved_is_the_callers_mistake(monkeypatch, failure):
    async def fail(host, port):
        raise failure

    monkeypatch.setattr(public_addresses, "_resolve", fail)
    with pytest.raises(InvalidInputError, match="cannot be found"):
        await resolve_public("x" * 80, 80)


def resolves_to(monkeypatch, *addresses):
    async def resolve(host, port):
        return list(addresses)

    monkeypatch.setattr(public_addresses, "_resolve", resolve)
