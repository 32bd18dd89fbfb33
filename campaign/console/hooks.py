"""``POST /hooks/LINE``: a provider tells us how a call went.

The secret is checked before a byte of the body is read, the delivery is committed before it is answered, and a worker
handles it afterwards. On a line without ``webhook_secret`` a delivery is only a hint to poll: which calls to ask about
is all that is kept of it, and beyond a thousand that wait the sender is told to come later.
"""

import logging
from collections.abc import Mapping

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response

from campaign.domain.calls import WebhookDelivery
from campaign.domain.line import Line
from campaign.providers.port import Fault, Provider, Reply
from campaign.providers.port import Request as Outgoing
from campaign.providers.registry import make_provider, provider_class
from campaign.services.webhooks import TooManyHints, presented_secret, receive, receive_hint, secret_matches
from campaign.storage.engine import Store

log = logging.getLogger(__name__)

BODY_LIMIT = 1024 * 1024
"""Bytes of one delivery."""

AGAIN_AFTER = "5"
"""Seconds, in Retry-After: the provider should deliver again because nothing was stored."""


HINTS_AGAIN_AFTER = "60"
"""Seconds, in Retry-After: so many unverified deliveries wait that one more is not taken."""


class TooLarge(Exception):
    """The body has more than BODY_LIMIT bytes."""


def hooks_router(store: Store, lines: Mapping[str, Line]) -> APIRouter:
    """The route for every line whose provider sends webhooks."""
    router = APIRouter()
    listening = {name: line for name, line in lines.items() if provider_class(line.provider).capabilities.webhook}
    providers = {name: make_provider(line, _Unconnected(store)) for name, line in listening.items()}

    @router.post("/hooks/{line}")
    async def hook(line: str, request: Request) -> Response:
        if line not in listening:
            return _refusal(404, "no line of this name takes webhooks")
        return await _deliver(store, listening[line], providers[line], request)

    return router


async def _deliver(store: Store, line: Line, provider: Provider, request: Request) -> Response:
    headers, query = _words(request)
    matches = secret_matches(line, presented_secret(headers, query))
    if matches is False:
        return _refusal(401, "the secret is missing or wrong", {"WWW-Authenticate": "Bearer"})
    if any("\0" in value for value in (*query, *query.values())):
        return _refusal(400, "a NUL character in the query")
    try:
        body = await _body(request)
    except TooLarge:
        # not closed here: the server reads the rest away, and a sender that is still sending gets to read this
        return _refusal(413, f"a delivery has at most {BODY_LIMIT} bytes")
    except ClientDisconnect:
        return _refusal(400, "the body did not arrive whole")
    now = store.clock.now()
    return await _answer(store, line, provider, WebhookDelivery(headers, query, body, now, verified=matches is True))


async def _answer(store: Store, line: Line, provider: Provider, delivery: WebhookDelivery) -> Response:
    challenge = provider.webhook_challenge(delivery)
    if challenge is not None:
        return JSONResponse(dict(challenge))
    try:
        await run_in_threadpool(_keep, store, line, provider, delivery)
    except TooManyHints:
        return _refusal(429, "too many unverified deliveries wait", {"Retry-After": HINTS_AGAIN_AFTER})
    except Exception as error:  # noqa: BLE001 - whatever kept it from being stored, the provider must deliver it again
        log.error("line %s: a delivery could not be stored (%s)", line.name, type(error).__name__)
        return _refusal(503, "not stored; deliver it again", {"Retry-After": AGAIN_AFTER})
    return JSONResponse({"ok": True})


def _keep(store: Store, line: Line, provider: Provider, delivery: WebhookDelivery) -> None:
    if delivery.verified:
        receive(store, line, delivery)
    else:
        receive_hint(store, line, provider.read_webhook(delivery))


def _words(request: Request) -> tuple[dict[str, str], dict[str, str]]:
    """Lower-cased headers and the query; of a repeated name the last one counts."""
    return {name.lower(): value for name, value in request.headers.items()}, dict(request.query_params)


async def _body(request: Request) -> bytes:
    """Raises TooLarge before more than the limit is held in memory, ClientDisconnect."""
    announced = request.headers.get("content-length", "0")
    if announced.isdigit() and int(announced) > BODY_LIMIT:
        raise TooLarge
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > BODY_LIMIT:
            raise TooLarge
    return bytes(body)


def _refusal(status: int, sentence: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"error": sentence}, status, headers=headers)


class _Unconnected:
    """For a provider that is only asked to read: it has nowhere to send to."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def now(self) -> float:
        return self._store.clock.now()

    async def send(self, request: Outgoing, *, timeout: float | None = None) -> Reply | Fault:
        return Fault(sent=False, reason="this process sends nothing")
