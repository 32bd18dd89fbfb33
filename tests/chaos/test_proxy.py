"""The proxy does to a connection exactly what it was told, and passes everything else unchanged."""

import contextlib
import gc
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.chaos.proxy import Proxy


class Echo:
    """A server that answers each chunk with itself and remembers all it has heard."""

    def __init__(self) -> None:
        self.heard = b""
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.address: tuple[str, int] = self._socket.getsockname()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            while data := connection.recv(65_536):
                self.heard += data
                connection.sendall(data)

    def close(self) -> None:
        self._socket.close()

    def hears(self, data: bytes) -> bool:
        until = time.monotonic() + 2
        while data not in self.heard and time.monotonic() < until:
            time.sleep(0.005)
        return data in self.heard


@pytest.fixture
def echo() -> Iterator[Echo]:
    server = Echo()
    yield server
    server.close()


@pytest.fixture
def proxy(echo: Echo) -> Iterator[Proxy]:
    with Proxy(echo.address) as running:
        yield running


@contextlib.contextmanager
def client(proxy: Proxy) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=3) as link:
        yield link


def said(link: socket.socket, data: bytes) -> bytes:
    link.sendall(data)
    answer = b""
    while len(answer) < len(data):
        part = link.recv(65_536)
        if not part:
            break
        answer += part
    return answer


def is_cut(link: socket.socket) -> bool:
    try:
        return link.recv(1) == b""
    except TimeoutError:
        return False
    except OSError:
        return True


def test_passes_everything_unchanged(proxy: Proxy) -> None:
    data = bytes(range(256)) * 2000
    with client(proxy) as link:
        assert said(link, data) == data


def test_cut_ends_every_connection_and_new_ones_work(proxy: Proxy) -> None:
    with client(proxy) as one, client(proxy) as other:
        assert said(one, b"x") == said(other, b"x")
        assert proxy.cut() == 2
        assert is_cut(one)
        assert is_cut(other)
    with client(proxy) as again:
        assert said(again, b"y") == b"y"


@pytest.mark.parametrize("answered", [False, True])
def test_cut_after_the_pattern_has_reached_the_server_and_before_its_answer_came(
    proxy: Proxy, echo: Echo, answered: bool
) -> None:
    # Given a trap for COMMIT
    proxy.cut_after(b"COMMIT", answered=answered)
    with client(proxy) as link:
        assert said(link, b"BEGIN") == b"BEGIN"
        # When the client sends it
        link.sendall(b"xCOMMITx")
        # Then the server has heard it and the client never learns
        assert is_cut(link)
    assert echo.hears(b"xCOMMITx")
    assert proxy.cuts == 1
    # And the trap is used up
    with client(proxy) as link:
        assert said(link, b"COMMIT") == b"COMMIT"


def test_refuses_until_healed(proxy: Proxy) -> None:
    with client(proxy) as link:
        assert said(link, b"x") == b"x"
        proxy.refuse()
        assert is_cut(link)
    with pytest.raises(ConnectionError), client(proxy):
        pass
    proxy.heal()
    with client(proxy) as link:
        assert said(link, b"x") == b"x"


def test_a_blackhole_is_silent_and_stays_open(proxy: Proxy, echo: Echo) -> None:
    with client(proxy) as link:
        assert said(link, b"before") == b"before"
        proxy.become(blackhole=True)
        link.settimeout(0.2)
        link.sendall(b"swallowed")
        assert not is_cut(link)
    assert echo.heard == b"before"


def test_latency_delays_each_chunk(proxy: Proxy) -> None:
    proxy.become(latency=0.1)
    with client(proxy) as link:
        began = time.monotonic()
        assert said(link, b"x") == b"x"
        assert time.monotonic() - began >= 0.2


def test_bandwidth_and_slices_slow_and_cut_up_but_lose_nothing(proxy: Proxy) -> None:
    data = b"0123456789" * 20
    with client(proxy) as link:
        proxy.become(bandwidth=2000.0, slice_size=10)
        began = time.monotonic()
        assert said(link, data) == data
        assert time.monotonic() - began >= 0.09  # 100 ms by the proxy, less what two clocks and a timer may differ by


def test_limit_cuts_after_so_many_bytes_of_the_answer(proxy: Proxy) -> None:
    proxy.limit(10)
    with client(proxy) as link:
        link.sendall(b"0123456789abcdef")
        received = b""
        with contextlib.suppress(OSError):
            while part := link.recv(100):
                received += part
        assert received == b"0123456789"[: len(received)]
        assert len(received) <= 10


def test_a_dead_upstream_is_a_reset(echo: Echo) -> None:
    echo.close()
    with Proxy(("127.0.0.1", 1)) as proxy, contextlib.suppress(ConnectionResetError), client(proxy) as link:
        assert is_cut(link)


def test_who_connects_in_the_moment_of_a_refusal_is_cut_off_too(proxy: Proxy) -> None:
    for _ in range(200):
        # Given somebody who has just connected, When everybody is refused
        with client(proxy) as link:
            proxy.refuse()
            # Then that connection ends as well, and nothing of it is left open
            with contextlib.suppress(ConnectionResetError):
                assert link.recv(1) == b""
        proxy.heal()
    gc.collect()
