"""A request leaves in the turn of the event loop in which it is sent: seen by a server in a thread of its own."""

import asyncio
import socket
import threading

from campaign.providers.port import Reply, Request, on_departure
from tests.providers.wire import OK, sending

PATIENCE = 5.0


class _Server:
    """Answers two requests on one connection and tells when it has read the second one."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self.read = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        connection, _ = self._listening.accept()
        with self._listening, connection:
            connection.settimeout(PATIENCE)
            for told in (threading.Event(), self.read):
                while b"body" not in connection.recv(65536):
                    pass
                told.set()
                connection.sendall(OK)


def test_a_request_has_left_before_the_loop_turns_again() -> None:
    async def run() -> tuple[bool, list[str]]:
        # Given a line whose connection is open
        server, happened = _Server(), list[str]()
        request = Request("POST", "/calls", json={"body": 1})
        on_departure.set(lambda: happened.append("left"))
        async with sending(server.url, connections=1) as sender:
            await sender.send(request)
            # When another request is sent, and the loop does not turn again until the server has read it
            sent = asyncio.create_task(sender.send(request))
            await asyncio.sleep(0)
            read, told = server.read.wait(PATIENCE), [*happened]
            assert isinstance(await sent, Reply)
        return read, told

    # Then it does read it, and of both requests it had been told that they left
    assert asyncio.run(run()) == (True, ["left", "left"])
