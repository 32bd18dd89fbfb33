"""What may be concluded when no whole answer comes back: on real sockets, and for every exception there is."""

import asyncio
import logging
import shutil
import socket
import ssl
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import httpx
import pytest

from campaign.domain.errors import UsageFault
from campaign.providers.connection import Answer, Origin
from campaign.providers.http import MAYBE_SENT, PROVED_UNSENT, LineSender, as_fault
from campaign.providers.port import Fault, Reply, Request
from campaign.providers.transport import BODY_LIMIT
from tests.providers.wire import (
    KEY,
    OK,
    PHONE,
    POST,
    Server,
    Visit,
    a_line,
    answers_ok,
    exchange,
    giant,
    hangs,
    sending,
    serving,
)

# --- what may be concluded ---


async def resets_before_reading(visit: Visit) -> None:
    await visit.reader.read(1)
    visit.reset()


async def resets_after_reading(visit: Visit) -> None:
    await visit.read()
    visit.reset()


async def closes_after_reading(visit: Visit) -> None:
    await visit.read()


async def half_a_header(visit: Visit) -> None:
    await visit.read()
    await visit.say(b"HTTP/1.1 200 OK\r\nContent-Le")


async def half_a_body(visit: Visit) -> None:
    await visit.read()
    await visit.say(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")


async def half_a_chunk(visit: Visit) -> None:
    await visit.read()
    await visit.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10\r\n{")


async def garbage(visit: Visit) -> None:
    await visit.read()
    await visit.say(b"\x16\x03\x01 what is this\r\n\r\n")


async def endless_headers(visit: Visit) -> None:
    await visit.read()
    for number in range(20_000):
        await visit.say(b"HTTP/1.1 200 OK\r\n" if not number else b"X-%d: %s\r\n" % (number, b"y" * 100))


@pytest.mark.parametrize(
    "behaviour",
    [
        resets_before_reading,
        resets_after_reading,
        closes_after_reading,
        half_a_header,
        half_a_body,
        half_a_chunk,
        garbage,
        endless_headers,
        giant,
    ],
)
def test_a_broken_exchange_may_have_been_sent(
    behaviour: Callable[[Visit], Awaitable[None]], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    fault, server = exchange(behaviour)
    assert isinstance(fault, Fault)
    assert fault.sent
    assert server.connections == 1
    assert_clean(fault, caplog)


def test_a_body_of_one_mebibyte_is_whole() -> None:
    async def large(visit: Visit) -> None:
        await visit.read()
        await visit.say(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % BODY_LIMIT + b"x" * BODY_LIMIT)

    reply, _ = exchange(large)
    assert isinstance(reply, Reply)
    assert len(reply.body) == BODY_LIMIT


async def drips(visit: Visit) -> None:
    await visit.read()
    await visit.say(b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n")
    while True:
        await visit.say(b" ")
        await asyncio.sleep(0.02)


async def drips_headers(visit: Visit) -> None:
    await visit.read()
    await visit.say(b"HTTP/1.1 200 OK\r\n")
    while True:
        await visit.say(b"X: y\r\n")
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("behaviour", [hangs, drips, drips_headers])
def test_the_deadline_bounds_the_whole_exchange(behaviour: Callable[[Visit], Awaitable[None]]) -> None:
    # Given a server that answers, byte by byte or never, When the deadline of the line passes, Then it is over
    async def run() -> tuple[Reply | Fault, float]:
        async with serving(behaviour) as server, sending(server.url, timeout=1.0) as sender:
            started = asyncio.get_running_loop().time()
            return await sender.send(POST), asyncio.get_running_loop().time() - started

    fault, took = asyncio.run(run())
    assert fault == Fault(sent=True, reason="no whole answer within the deadline")
    assert 0.9 < took < 5.0


def test_a_request_may_bring_its_own_deadline() -> None:
    async def run() -> Reply | Fault:
        async with serving(hangs) as server, sending(server.url, timeout=60) as sender:
            return await sender.send(POST, timeout=0.1)

    assert isinstance(asyncio.run(run()), Fault)


def test_refused_is_proved_unsent(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: refuses
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        fault = asyncio.run(_once(url, POST))
    assert fault == Fault(sent=False, reason="could not connect, nothing was sent (ConnectionRefusedError)")
    assert_clean(fault, caplog)


def test_an_unknown_host_is_proved_unsent() -> None:
    fault = asyncio.run(_once("http://no-such-host.invalid", POST))
    assert isinstance(fault, Fault)
    assert not fault.sent


@pytest.mark.parametrize("url", ["ftp://127.0.0.1", "http://", "nonsense", "http://127.0.0.1:99999", "http://[::bad"])
def test_a_bad_address_is_proved_unsent(url: str) -> None:
    fault = asyncio.run(_once(url, POST))
    assert isinstance(fault, Fault)
    assert not fault.sent


def test_a_header_that_cannot_be_written_is_proved_unsent() -> None:
    fault, server = exchange(answers_ok, Request("POST", "/calls", {"X-API-KEY": "schlüssel"}))
    assert (fault, server.requests) == (
        Fault(sent=False, reason="the request could not be built (UnicodeEncodeError)"),
        0,
    )


def test_a_header_cannot_smuggle_another() -> None:
    fault, server = exchange(answers_ok, Request("POST", "/calls", {"X-API-KEY": "a\r\nX-Admin: 1"}))
    assert isinstance(fault, Fault)
    assert server.requests == 0


def test_a_server_that_accepts_and_never_handshakes_is_proved_unsent() -> None:
    # Given a port behind which nobody speaks TLS, When half of the deadline is over, Then nothing can have left
    async def silent(visit: Visit) -> None:
        await asyncio.sleep(60)

    async def run() -> Reply | Fault:
        async with serving(silent) as server, sending(f"https://127.0.0.1:{server.port}", timeout=0.6) as sender:
            return await sender.send(POST)

    assert asyncio.run(run()) == Fault(False, "could not connect, nothing was sent (ConnectTimeout)")


def test_no_slot_in_the_pool_is_proved_unsent() -> None:
    # Given a pool of two, both taken by requests that hang, When a third waits for a slot, Then it is not sent
    async def run() -> tuple[list[Reply | Fault], Server]:
        async with serving(hangs) as server, sending(server.url, timeout=1.2, connections=2) as sender:
            return list(await asyncio.gather(*(sender.send(POST) for _ in range(3)))), server

    faults, server = asyncio.run(run())
    assert sorted(fault.sent for fault in faults if isinstance(fault, Fault)) == [False, True, True]
    assert server.requests == 2


def test_after_closing_nothing_is_sent() -> None:
    async def run() -> tuple[Reply | Fault, int]:
        async with serving(answers_ok) as server:
            async with sending(server.url) as sender:
                await sender.send(POST)
            return await sender.send(POST), server.requests

    assert asyncio.run(run()) == (Fault(sent=False, reason="the line is closed"), 1)


# --- every exception has its meaning ---


def _tree(top: type[BaseException]) -> Iterator[type[BaseException]]:
    yield top
    for below in top.__subclasses__():
        yield from _tree(below)


HTTPX_EXCEPTIONS = sorted(
    {
        kind
        for top in (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, httpx.CookieConflict)
        for kind in _tree(top)
    }
    | {kind for kind in vars(httpx).values() if isinstance(kind, type) and issubclass(kind, Exception)},
    key=lambda kind: kind.__name__,
)


def _made(kind: type[BaseException]) -> BaseException:
    """An exception without running its constructor: each of the libraries' asks for something else."""
    return kind.__new__(kind, f"https://provider.example/?to={PHONE}&key={KEY}")


@pytest.mark.parametrize("kind", HTTPX_EXCEPTIONS, ids=lambda kind: kind.__name__)
def test_every_exception_of_httpx_is_judged_and_mapped(kind: type[Exception]) -> None:
    assert (kind in PROVED_UNSENT) != (kind in MAYBE_SENT), f"{kind.__name__} is new: judge it in http.py"

    class Raising:
        async def exchange(self, origin: Origin, written: bytes, connect_within: float | None = None) -> Answer:
            raise _made(kind)

        async def aclose(self) -> None: ...

    sender = LineSender(a_line("http://127.0.0.1"), now=lambda: 0.0, wire=Raising())
    fault = asyncio.run(sender.send(POST))
    assert isinstance(fault, Fault)
    assert fault.sent is (kind in MAYBE_SENT)
    assert KEY not in fault.reason
    assert PHONE not in fault.reason


def test_an_exception_that_nobody_knows_may_have_been_sent() -> None:
    class NewKind(httpx.ConnectError):
        pass

    assert as_fault(NewKind("")).sent
    assert as_fault(RuntimeError("")).sent


# --- TLS ---


def test_a_certificate_that_is_not_trusted_is_proved_unsent_and_can_be_trusted(tmp_path: Path) -> None:
    certificate, key = _certificate(tmp_path)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate, key)

    async def run() -> list[Reply | Fault]:
        seen = 0

        async def visit(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal seen
            await reader.readuntil(b"\r\n\r\n")
            seen += 1
            writer.write(OK)
            await writer.drain()
            writer.close()

        listening = await asyncio.start_server(visit, "127.0.0.1", 0, ssl=tls)
        url = f"https://localhost:{listening.sockets[0].getsockname()[1]}"
        found = []
        for fields in ({}, {"ca_file": str(certificate)}, {"verify_tls": False}):
            sender = LineSender(a_line(url).model_copy(update=fields), now=lambda: 0.0)
            found.append(await sender.send(Request("GET", "/")))
            await sender.aclose()
        listening.close()
        assert seen == 2
        return found

    untrusted, by_file, unverified = asyncio.run(run())
    assert untrusted == Fault(False, "could not connect, nothing was sent (SSLCertVerificationError)")
    assert isinstance(by_file, Reply)
    assert isinstance(unverified, Reply)


def test_a_ca_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("")
    for name in ("missing.pem", "empty.pem"):
        line = a_line("https://127.0.0.1").model_copy(update={"ca_file": str(tmp_path / name)})
        with pytest.raises(UsageFault, match=r"lines\.recall\.ca_file"):
            LineSender(line, now=lambda: 0.0)


def test_the_loggers_of_the_libraries_keep_quiet() -> None:
    for name in ("httpx", "httpcore"):
        assert not logging.getLogger(name).isEnabledFor(logging.INFO)


async def _once(url: str, request: Request) -> Reply | Fault:
    async with sending(url) as sender:
        return await sender.send(request)


def assert_clean(fault: Fault, caplog: pytest.LogCaptureFixture) -> None:
    text = f"{fault!r} {caplog.text}"
    for private in (KEY, PHONE, PHONE[1:], "127.0.0.1"):
        assert private not in text


def _certificate(folder: Path) -> tuple[Path, Path]:
    """A self-signed certificate for localhost, as some installs of providers have."""
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("openssl is not installed")
    certificate, key = folder / "c.pem", folder / "k.pem"
    words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=localhost"
    subprocess.run(
        [program, *words.split(), "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", certificate],
        check=True,
        capture_output=True,
    )
    return certificate, key
