"""A request on its way to the wire: it leaves in the turn of the event loop in which it is sent, and tells so.

aiohttp writes a body in a task of its own. From Python 3.12 on it starts that task at once; on 3.11 the task waits for
the loop's next turn, which on a busy machine comes 10 to 50 ms later, and by as much a line at its limit is slower.
"""

import sys
from collections.abc import Awaitable, Coroutine, Generator
from functools import partial
from types import coroutine
from typing import Any

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from aiohttp.client_reqrep import ClientResponse
from aiohttp.connector import Connection

from campaign.providers.port import on_departure

STARTED_AT_ONCE = sys.version_info >= (3, 12)


class DepartingRequest(aiohttp.ClientRequest):
    """For a session's ``request_class``: calls ``on_departure`` as soon as it has been written."""

    async def send(self, conn: Connection) -> ClientResponse:
        response = await super().send(conn)
        if (tell := on_departure.get()) is not None:
            tell()
        return response

    def write_bytes(
        self, writer: AbstractStreamWriter, conn: Connection, content_length: int | None = None
    ) -> Coroutine[Any, Any, None]:
        work = super().write_bytes(writer, conn, content_length)
        return work if STARTED_AT_ONCE else begun(work)


def begun(work: Coroutine[Any, Any, None]) -> Coroutine[Any, Any, None]:
    """``work``, done up to where it first waits for something. To be awaited for the rest."""
    try:
        awaited = work.send(None)
    except StopIteration:
        return _nothing()
    return _awaited(_rest(work, awaited))


async def _awaited(rest: Awaitable[None]) -> None:
    """From Python 3.12 on a task takes nothing but what ``async def`` has made."""
    await rest


async def _nothing() -> None:
    """Nothing was left to do."""


@coroutine
def _rest(work: Coroutine[Any, Any, None], awaited: Any) -> Generator[Any, Any, None]:
    while True:
        try:
            got = yield awaited
        except BaseException as error:  # noqa: BLE001 - a cancellation is for the work to answer, too
            go_on = partial(work.throw, error)
        else:
            go_on = partial(work.send, got)
        try:
            awaited = go_on()
        except StopIteration:
            return
