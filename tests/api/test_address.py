"""Where a request came from: what is believed of `X-Forwarded-For`, and who is counted as one."""

from types import SimpleNamespace
from typing import Any

import pytest
import websockets
from werkzeug.datastructures import Headers

from streamapi.access.guesses import Guesses
from streamapi.access.limit_key import limit_key, network
from streamapi.access.limits import MemoryLimits
from streamapi.api import address
from streamapi.emulator import Emulator
from streamapi.errors import RateLimited
from streamapi.generation.request import Caller
from tests.api.wire import http, receive, send_message, unique
from tests.conftest import running


def found(hops: int, *forwarded: str) -> str | None:
    """The address of a request whose peer is 10.0.0.1."""
    headers = Headers([("X-Forwarded-For", value) for value in forwarded])
    return address.find(SimpleNamespace(remote_addr="10.0.0.1", headers=headers), hops)


@pytest.mark.parametrize(
    ("hops", "forwarded", "expected"),
    [
        (0, ["192.0.2.1"], "10.0.0.1"),
        (1, [], "10.0.0.1"),
        (1, ["192.0.2.1"], "192.0.2.1"),
        (1, ["6.6.6.6, 192.0.2.1"], "192.0.2.1"),
        (1, ["6.6.6.6", "192.0.2.1"], "192.0.2.1"),
        (2, ["6.6.6.6, 192.0.2.1,10.0.0.2"], "192.0.2.1"),
        (2, ["6.6.6.6, 192.0.2.1", "10.0.0.2"], "192.0.2.1"),
        (2, ["192.0.2.1"], "10.0.0.1"),
        (1, ["192.0.2.1:4711"], "192.0.2.1"),
        (1, ["[2001:db8::1]:4711"], "2001:db8::1"),
        (1, ["2001:DB8::1"], "2001:db8::1"),
        (1, ["fe80::1%eth0"], "fe80::1"),
        (1, ["192.0.2.1, "], "10.0.0.1"),
        (1, ["unknown"], "10.0.0.1"),
        (1, ["192.0.2.999"], "10.0.0.1"),
        (1, ["1"], "10.0.0.1"),
        (1, ["\x00, [::1"], "::1"),
        (1, ["9" * 100_000], "10.0.0.1"),
        (10, ["6.6.6.6," * 5000], "6.6.6.6"),
    ],
)
def test_only_so_many_hops_are_believed(hops: int, forwarded: list[str], expected: str) -> None:
    """What stands further left anyone could have written; nonsense is the peer's."""
    assert found(hops, *forwarded) == expected


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1%eth0", "2001:db8:1:2::/64"),
        (None, "unknown"),
        ("nonsense", "unknown"),
    ],
)
def test_what_an_address_counts_as(one: str | None, expected: str) -> None:
    """Of IPv6 a /64 is one: its owner has every address in it."""
    assert network(one) == expected


def test_who_has_a_key_is_counted_by_it() -> None:
    """Wherever it comes from."""
    assert limit_key(Caller(key="k1", address="192.0.2.1")) == "key/k1"
    assert limit_key(Caller(address="192.0.2.1")) == "address/192.0.2.1"


async def test_a_forwarded_address_is_limited_by_itself(emulator: Emulator) -> None:
    """Behind one proxy, the address that the proxy adds counts, on every transport."""
    settings: dict[str, Any] = {"rate_limit": "2/hour", "trusted_hops": 1}
    body = {"prompt": unique("[[words:3]]")}
    async with running(emulator, **settings) as server, http(server.url) as client:
        for spoofed in ("6.6.6.1", "6.6.6.2", "6.6.6.3"):
            forwarded = {"X-Forwarded-For": f"{spoofed}, 2001:db8::{spoofed[-1]}"}
            answer = await client.post("/v1/text", json=body, headers=forwarded)
            assert answer.status_code == (429 if spoofed == "6.6.6.3" else 200)
        other = {"X-Forwarded-For": "2001:db8:0:1::1"}
        assert (await client.post("/v1/text", json=body, headers=other)).status_code == 200
        forwarded = {"X-Forwarded-For": "2001:db8:0:2::1"}
        for code in ("start", "start", "error"):
            async with websockets.connect(
                f"{server.ws}/v1/ws", additional_headers=forwarded
            ) as socket:
                await send_message(socket, "start", task="text", request=body)
                assert (await receive(socket))["type"] == code


async def test_bad_keys_are_counted_by_their_network() -> None:
    """A good key costs nothing; the third bad one of a /64 is the last that is looked up."""
    guesses = Guesses(MemoryLimits(), 3)
    for n in range(10):
        await guesses.check("2001:db8::1", f"good {n}")
    for n, at in enumerate(("2001:db8::1", "2001:db8::2", "2001:db8::3")):
        await guesses.check(at, f"bad {n}")
        await guesses.count(at, f"bad {n}")
    with pytest.raises(RateLimited) as refused:
        await guesses.check("2001:db8::1", "another")
    assert refused.value.retry_after == pytest.approx(20.0, abs=1)
    await guesses.check("2001:db8:0:1::1", "another")
