"""The server as a server: control API, process, limits, HTTP as it comes."""

import asyncio
import gc
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from http.client import HTTPConnection
from typing import Any

import pytest

from campaign.domain.errors import OutOfReach, UsageFault
from campaign.providers.simulator import SimulatorHandle, running_simulator, simulator_options, simulator_process
from campaign.providers.simulator.server import Simulator
from campaign.providers.simulator.wire import take_request

NUMBER = "+14155550123"
COMMAND = [sys.executable, "-W", "error", "-m", "campaign.providers.simulator"]


@pytest.fixture
def simulator() -> Iterator[SimulatorHandle]:
    with running_simulator(simulator_options(port=0, time_scale=1000)) as handle:
        yield handle


def ask(url: str, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, dict[str, str], Any]:
    """Status, headers and JSON of one request."""
    connection = HTTPConnection(url.removeprefix("http://"), timeout=5)
    try:
        data = None if body is None else json.dumps(body).encode()
        connection.request(method, path, data, {"Content-Type": "application/json", **headers})
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), json.loads(answer.read() or b"null")
    finally:
        connection.close()


def dial(url: str, number: str = NUMBER, **fields: Any) -> tuple[int, Any]:
    status, _, body = ask(url, "POST", "/sandbox/calls", {"to": number, **fields})
    return status, body


# --- the sandbox's own dialect, where the provider file does not reach ---


def test_a_repeated_ref_rings_again_unless_the_server_is_idempotent(simulator: SimulatorHandle) -> None:
    first, again = dial(simulator.url, "+14155550001", ref="a"), dial(simulator.url, "+14155550002", ref="a")
    assert (first[0], again[0], simulator.ledger().repeated_refs) == (202, 202, 1)
    simulator.configure(idempotent=True)
    first, again = dial(simulator.url, "+14155550003", ref="b"), dial(simulator.url, "+14155550003", ref="b")
    assert (first[0], again[0]) == (202, 200)
    assert first[1]["id"] == again[1]["id"]
    assert (simulator.ledger().placed, simulator.ledger().refused) == (3, {"repeated": 1})


def test_a_conflict_names_the_call_that_holds_the_number(simulator: SimulatorHandle) -> None:
    simulator.configure(time_scale=1)
    _, held = dial(simulator.url, ref="a")
    status, body = dial(simulator.url, ref="b")
    assert (status, body["existing_ref"], body["existing_id"]) == (409, "a", held["id"])


def test_lists_come_in_pages(simulator: SimulatorHandle) -> None:
    simulator.configure(page_size=2)
    ids = [dial(simulator.url, f"+1415555000{place}")[1]["id"] for place in range(5)]
    pages, after = [], ""
    while True:
        _, _, page = ask(simulator.url, "GET", f"/sandbox/calls{after}")
        pages.append([call["id"] for call in page["calls"]])
        if page["next"] is None:
            break
        after = f"?after={page['next']}"
    assert pages == [[ids[4], ids[3]], [ids[2], ids[1]], [ids[0]]]


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/sandbox/calls", {}, 400),
        ("POST", "/sandbox/calls", {"to": NUMBER, "variables": [1]}, 400),
        ("POST", "/sandbox/calls", None, 400),
        ("POST", "/sandbox/results", {"ids": "x"}, 400),
        ("POST", "/sandbox/results", {"ids": ["x"] * 201}, 400),
        ("GET", "/sandbox/calls?since=yesterday", None, 400),
        ("GET", "/sandbox/calls/none", None, 404),
        ("DELETE", "/sandbox/calls/none", None, 404),
        ("GET", "/nobody", None, 404),
        ("POST", "/v2/call", {"Project": "x"}, 401),
        ("POST", "/v2/call", {"Project": "x", "AccessToken": "t"}, 400),
        ("POST", "/v1/calls/outbound", {}, 401),
        ("POST", "/outgoing/send", {"access_token": "t", "to": "1"}, 422),
        ("GET", "/domains/a/cdrs", None, 401),
    ],
)
def test_bad_requests_are_answered(simulator: SimulatorHandle, method: str, path: str, body: Any, status: int) -> None:
    assert ask(simulator.url, method, path, body)[0] == status
    assert simulator.ledger().placed == 0


# --- limits ---


def test_the_provider_s_own_pace_is_kept(simulator: SimulatorHandle) -> None:
    simulator.configure(calls_per_second=3)
    answers = [ask(simulator.url, "POST", "/sandbox/calls", {"to": f"+1415555000{place}"}) for place in range(5)]
    assert [status for status, _, _ in answers] == [202, 202, 202, 429, 429]
    assert answers[-1][1]["Retry-After"] == "1"
    ledger = simulator.ledger()
    assert (ledger.requests, ledger.max_per_second, ledger.refused) == (5, 5, {"429": 2})


def test_the_provider_s_lines_can_be_full(simulator: SimulatorHandle) -> None:
    simulator.configure(max_live=2, time_scale=1)
    assert [dial(simulator.url, f"+1415555000{place}")[0] for place in range(3)] == [202, 202, 429]
    assert simulator.ledger().max_live == 2


# --- the ledger and the control API ---


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says when what is read had come")
def test_a_request_arrives_when_it_comes_and_not_when_a_busy_server_reads_it() -> None:
    with simulator_process(simulator_options(port=0)) as handle, ExitStack() as open_sockets:
        assert handle.pid is not None
        address = ("127.0.0.1", int(handle.url.rpartition(":")[2]))
        peers = [open_sockets.enter_context(socket.create_connection(address)) for _ in range(2)]
        # Given a server that stands still, When two requests come meanwhile, 0.2 s apart
        os.kill(handle.pid, signal.SIGSTOP)
        sent = []
        for nth, peer in enumerate(peers):
            body = b'{"to": "+1415555000%d"}' % nth
            peer.sendall(b"POST /sandbox/calls HTTP/1.1\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
            sent.append((time.monotonic(), time.time()))
            time.sleep(0.2)
        os.kill(handle.pid, signal.SIGCONT)
        assert all(peer.recv(12) == b"HTTP/1.1 202" for peer in peers)
        arrivals = handle.ledger("arrivals").arrivals
    # Then that is what it tells
    assert arrivals is not None
    assert sorted(arrivals.monotonic) == pytest.approx([monotonic for monotonic, _ in sent], abs=0.05)
    assert sorted(arrivals.wall) == pytest.approx([wall for _, wall in sent], abs=0.05)


def test_the_ledger_tells_every_arrival_and_call(simulator: SimulatorHandle) -> None:
    simulator.add_fault("503,nth=1")
    assert [dial(simulator.url, ref="a")[0] for _ in range(2)] == [503, 202]
    ledger = simulator.ledger("numbers", "calls", "arrivals", number=NUMBER)
    assert ledger.arrivals is not None
    assert ledger.calls is not None
    assert ledger.arrivals.fate == ["503", "placed"]
    assert ledger.arrivals.monotonic == sorted(ledger.arrivals.monotonic)
    assert ledger.requests_per_number == {NUMBER: 2}
    assert [(call.number, call.ref, call.nth) for call in ledger.calls] == [(NUMBER, "a", 1)]
    assert NUMBER not in repr(ledger)
    simulator.reset()
    assert simulator.ledger().requests == 0


def test_options_change_while_it_runs(simulator: SimulatorHandle) -> None:
    simulator.configure(mix={"busy": 1}, faults=["429,times=1"])
    assert [dial(simulator.url)[0], dial(simulator.url)[0]] == [429, 202]
    with pytest.raises(UsageFault, match="mix"):
        simulator.configure(mix="x=1")
    with pytest.raises(UsageFault, match="there is no fault 'boom'"):
        simulator.add_fault("boom")
    assert [(fault["kind"], fault["struck"]) for fault in simulator.faults()] == [("429", 1)]
    simulator.clear_faults()
    assert simulator.faults() == []


def test_the_control_api_can_be_closed_to_strangers() -> None:
    with running_simulator(simulator_options(port=0, control_token="open sesame")) as handle:
        assert ask(handle.url, "GET", "/control/ledger")[0] == 401
        assert ask(handle.url, "GET", "/control/health")[0] == 200
        assert handle.ledger().requests == 0
        assert ask(handle.url, "GET", "/control/options", Authorization="Bearer open sesame")[2]["control_token"] != (
            "open sesame"
        )
    with running_simulator(simulator_options(port=0, host="0.0.0.0")) as open_to_all:
        assert ask(open_to_all.url, "GET", "/control/ledger")[0] == 403


def test_a_connection_that_comes_as_the_port_closes_is_ended_with_it() -> None:
    # Given a client whom the event loop has accepted and not yet given to the simulator
    async def story() -> bytes:
        simulator = Simulator(simulator_options(port=0))
        await simulator.start()
        client = socket.create_connection(("127.0.0.1", int(simulator.url.rpartition(":")[2])))
        client.setblocking(False)
        for _ in range(2):
            await asyncio.sleep(0)
        # When the simulator goes, then the client is told, and does not wait for somebody who is not there
        await simulator.stop()
        with client:
            return await asyncio.wait_for(asyncio.get_running_loop().sock_recv(client, 1), 5.0)

    gc.disable()  # which would end the connection too, some time
    try:
        with pytest.raises(ConnectionResetError):
            asyncio.run(story())
    finally:
        gc.enable()


def test_a_taken_port_is_one_sentence() -> None:
    with running_simulator(simulator_options(port=0)) as first:
        port = int(first.url.rpartition(":")[2])
        with (
            pytest.raises(OutOfReach, match=f"cannot listen on 127.0.0.1:{port}"),
            running_simulator(simulator_options(port=port)),
        ):
            pass
    assert not first.healthy()


# --- a process ---


def test_a_process_serves_with_its_options_and_ends() -> None:
    options = simulator_options(
        port=0,
        script={NUMBER: ["busy"]},
        keys={"sandbox": "sk_test"},
        control_token="t",
        time_scale=1e6,
        faults="500:0",
    )
    with simulator_process(options) as handle:
        assert dial(handle.url)[0] == 401
        assert ask(handle.url, "POST", "/sandbox/calls", {"to": NUMBER}, Authorization="Bearer sk_test")[0] == 202
        ledger = handle.ledger()
        assert (ledger.placed, ledger.refused) == (1, {"401": 1})
    assert not handle.healthy()


def test_it_announces_and_ends_on_sigterm() -> None:
    with subprocess.Popen(
        [*COMMAND, "--port", "0", "--mix", "busy=1", "--latency", "1ms", "--fault", "429,times=1", "--announce"],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        announced = json.loads(process.stdout.readline())
        assert announced["pid"] == process.pid
        assert [dial(announced["url"])[0], dial(announced["url"])[0]] == [429, 202]
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


def test_it_ends_when_its_parent_is_gone() -> None:
    with subprocess.Popen(
        [*COMMAND, "--port=0", "--announce", "--until-eof"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        announced = json.loads(process.stdout.readline())
        process.send_signal(signal.SIGINT)  # a Ctrl-C that its parent got too, and has yet to act on
        assert dial(announced["url"])[0] == 202
        process.stdin.close()
        assert process.wait(10) == 0


def test_bad_options_end_it_with_one_sentence_each() -> None:
    ended = subprocess.run([*COMMAND, "--mix", "nobody=1"], capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert ended.stderr.startswith("the sandbox cannot start: mix.nobody")
    assert ended.stderr.count("\n") == 1


# --- HTTP as it comes ---


def raw(url: str, *pieces: bytes) -> bytes:
    """What comes back for bytes sent piece by piece, until the server closes."""
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=5) as peer:
        for piece in pieces:
            peer.sendall(piece)
        peer.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: peer.recv(65536), b""))


def test_requests_may_come_in_pieces_and_in_a_row(simulator: SimulatorHandle) -> None:
    body = json.dumps({"to": NUMBER}).encode()
    head = b"POST /sandbox/calls HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
    check = b"GET /sandbox/account HTTP/1.1\r\n\r\n"
    answered = raw(simulator.url, head[:20], head[20:] + body[:5], body[5:] + check + check)
    assert answered.count(b"HTTP/1.1 202") == 1
    assert answered.count(b"HTTP/1.1 200") == 2


def test_chunked_bodies_are_read() -> None:
    request = b"POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n2;x=y\r\nef\r\n0\r\n\r\nGET"
    for stop in range(len(request) - 3):
        assert take_request(request[:stop]) is None
    taken = take_request(request)
    assert taken is not None
    assert (taken[0].body, taken[1]) == (b"abcdef", b"GET")


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"hello\r\n\r\n", b"400"),
        (b"GET http://elsewhere/ HTTP/1.1\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nContent-Length: many\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n", b"413"),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 70_000, b"431"),
    ],
)
def test_what_is_no_request_is_refused(simulator: SimulatorHandle, sent: bytes, status: bytes) -> None:
    assert raw(simulator.url, sent).startswith(b"HTTP/1.1 " + status)
