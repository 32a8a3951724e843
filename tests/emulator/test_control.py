"""`/control` reports the calls, with their times."""

import asyncio
import signal
import socket
import struct
import subprocess
import sys
import time
import uuid

import aiohttp
import pytest
from aiohttp.test_utils import make_mocked_request

from streamapi.emulator import FAULTS, Emulator
from streamapi.emulator.control import Control
from streamapi.emulator.history import History

STREAM = "streamGenerateContent?alt=sse"


async def the_call(client, prompt: str, outcome: str) -> dict:
    """Wait for the only call with this prompt to have this outcome."""
    async with asyncio.timeout(2):
        while True:
            calls = (await client.control(prompt))["calls"]
            if [call["outcome"] for call in calls] == [outcome]:
                return calls[0]


async def test_a_call_is_recorded(client):
    before = await client.control()
    prompt = uuid.uuid4().hex
    start = time.monotonic()
    await client.stream(prompt + " and more")
    call = await the_call(client, prompt, "finished")
    assert start <= call["started"] <= call["first_byte"] <= call["ended"] <= time.monotonic()
    assert (call["model"], call["method"]) == ("gemini-3.8-flash", "streamGenerateContent")
    assert (call["prompt_excerpt"], call["fault"]) == (prompt + " and more", None)
    assert len(call["key_sha256_8"]) == 8
    assert (await client.control())["requests"] == before["requests"] + 1
    await client.stream(f"{prompt}2 [[fault:503]]")
    assert (await the_call(client, prompt + "2", "fault"))["fault"] == "503"


@pytest.mark.parametrize("how", ["fin", "rst"])
@pytest.mark.parametrize("reused", [False, True])
@pytest.mark.parametrize(
    "marker",
    [
        "[[fault:hang]]",
        "[[fault:hang_after_text]]",
        "[[pace:60]]",
        "[[words:90000]]",
        "[[fault:one_byte]]",
    ],
)
async def test_a_client_that_leaves_is_noticed_at_once(client, emulator, marker, how, reused):
    prompt = uuid.uuid4().hex
    reader, writer = await asyncio.open_connection("127.0.0.1", emulator.port)
    if reused:
        writer.write(request(client, "x [[words:3]]"))
        await reader.readuntil(b"\r\n0\r\n\r\n")
    writer.write(request(client, prompt + marker))
    if marker == "[[fault:hang]]":
        await the_call(client, prompt, None)
    else:
        await reader.readuntil(b"\r\n\r\n")
    left = time.monotonic()
    if how == "rst":
        linger = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.transport.abort()
    else:
        writer.close()
    call = await the_call(client, prompt, "client_left")
    assert 0 <= call["ended"] - left < 1


def request(client, prompt: str) -> bytes:
    body = client.session.json_serialize(client.body(prompt)).encode()
    head = (
        f"POST /v1beta/models/gemini-3.8-flash:{STREAM} HTTP/1.1\r\nHost: x\r\n"
        f"x-goog-api-key: k\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def test_open_calls_are_counted_and_a_close_is_fast():
    async with aiohttp.ClientSession(headers={"x-goog-api-key": "k"}) as session:
        emulator = Emulator(pace=0)
        await emulator.start()
        url = f"{emulator.url}/v1beta/models/gemini-3.8-flash:{STREAM}"
        body = {"contents": [{"parts": [{"text": "x [[fault:hang_after_text]]"}]}]}
        answers = [await session.post(url, json=body) for _ in range(50)]
        assert emulator.history.open == 50
        start = time.monotonic()
        await emulator.close()
        assert time.monotonic() - start < 1
        assert emulator.history.open == emulator.history.left == 0
        for answer in answers:
            answer.close()


async def test_what_is_kept_is_bounded():
    history = History()
    for _ in range(1_500):
        history.end(history.begin("m", "generateContent", "k"), "finished")
    report = history.report()
    calls = report["calls"]
    assert (report["requests"], len(calls), calls[-1]["id"]) == (1_500, 1_000, 1_500)


async def test_everything_can_be_forgotten():
    async with Emulator(pace=0) as emulator, aiohttp.ClientSession() as session:
        url = emulator.url + "/control"
        await session.post(url + "/faults", json={"fault": "503", "times": 9})
        await session.post(
            f"{emulator.url}/v1beta/models/gemini-3.8-flash:generateContent",
            json={},
            headers={"x-goog-api-key": "k"},
        )
        async with session.delete(url) as answer:
            assert answer.status == 200
        async with session.get(url) as answer:
            told = await answer.json()
    assert told == {"requests": 0, "open": 0, "left": 0, "faults": [], "calls": []}


async def test_the_table_of_faults_is_listed(client):
    async with client.session.get(client.url + "/control/faults") as answer:
        rows = (await answer.json())["faults"]
    assert [row["name"] for row in rows] == list(FAULTS)
    assert all(row["meaning"] for row in rows)


@pytest.mark.parametrize(
    "body",
    [{}, [], {"fault": "nonsense"}, {"fault": "503", "name": 1}, {"fault": "503", "times": -1}],
)
async def test_a_wrong_order_is_refused(client, body):
    async with client.session.post(client.url + "/control/faults", json=body) as answer:
        message = (await answer.json())["error"]["message"]
    assert answer.status == 400
    if body == {"fault": "nonsense"}:
        assert all(name in message for name in FAULTS)


@pytest.mark.parametrize("peer", ["10.0.0.1", "::ffff:10.0.0.1", "2001:db8::1", "", None])
async def test_other_machines_find_no_control(peer):
    class Transport(asyncio.Transport):
        def get_extra_info(self, name, default=None):
            return (peer, 1) if name == "peername" and peer is not None else default

    request = make_mocked_request("GET", "/control", transport=Transport())
    with pytest.raises(aiohttp.web.HTTPNotFound):
        await Control(History()).report(request)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_run_prints_its_url_and_ends_on_a_signal(number):
    code = "from streamapi.emulator import run; run('127.0.0.1', 0, 0, 24)"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE
    )
    url = (await process.stdout.readline()).decode().strip()
    async with aiohttp.ClientSession() as session, session.get(url + "/control") as answer:
        assert answer.status == 200
    process.send_signal(number)
    rest, _ = await process.communicate()
    assert (rest, process.returncode) == (b"", 0)


def test_the_package_stands_alone():
    """Other projects' tests import the emulator, and nothing else of this one."""
    code = (
        "import sys, streamapi.emulator; "
        "print(sorted({m.split('.')[1] for m in sys.modules if m.startswith('streamapi.')}), "
        "sorted({'quart', 'langchain_core', 'pydantic'} & sys.modules.keys()))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split("\n")[0] == "['emulator'] []"
