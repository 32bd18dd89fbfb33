"""The server under ``campaign serve``: it says that it listens once it does, and then ends in good order when told."""

import socket
from collections.abc import Callable
from contextlib import suppress

import uvicorn
from fastapi import FastAPI

STOP_WITHIN = 10
"""Seconds that open requests get when the server is told to end."""

AT_ONCE = 200
"""Requests at once; more get 503, and a provider delivers again."""


class _Server(uvicorn.Server):
    """While modules are still being imported, Python drops an interrupt that comes in a callback of the import system's
    own: who had read that the server listens and then pressed Ctrl-C waited for ever. From its start-up on the server
    takes signals by handlers of its own, in which nothing is raised."""

    def __init__(self, config: uvicorn.Config, listening: Callable[[], None]) -> None:
        super().__init__(config)
        self._listening = listening

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._listening()


def serve(app: FastAPI, sock: socket.socket, listening: Callable[[], None]) -> None:
    """Serve until SIGTERM or Ctrl-C; ``listening`` is called when requests are taken."""
    config = uvicorn.Config(
        app, log_config=None, access_log=False, server_header=False, proxy_headers=False, lifespan="off",
        limit_concurrency=AT_ONCE, timeout_graceful_shutdown=STOP_WITHIN,
    )  # fmt: skip
    with suppress(KeyboardInterrupt):  # raised once more by the server when it has ended
        _Server(config, listening).run(sockets=[sock])
