"""Recorded exchanges and the sender that plays them. The file format is described in ``docs/adding-a-provider.md``."""

import json
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode

from campaign.domain.calls import WebhookDelivery
from campaign.providers.port import Fault, Reply, Request

FOLDER = Path(__file__).with_name("recordings")
SENT_AT = 1_795_000_000.0  # 2026-11-18 11:06:40 UTC
NOW = SENT_AT + 90.0

T = TypeVar("T")


def drive(coroutine: Coroutine[Any, Any, T]) -> T:
    """Runs a provider's coroutine without an event loop: one that sleeps or opens a socket by itself fails here."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]
    raise AssertionError("a provider must not wait for anything but its sender")


@dataclass
class PlayedSender:
    """Answers from ``answer``, remembers every request. ``now`` is NOW unless told."""

    answer: Callable[[Request], Reply | Fault]
    at: float = NOW
    requests: list[Request] = field(default_factory=list)

    def now(self) -> float:
        return self.at

    async def send(self, request: Request, *, timeout: float | None = None) -> Reply | Fault:
        self.requests.append(request)
        return self.answer(request)


def always(reply: Reply | Fault) -> PlayedSender:
    """Gives the same answer to every request."""
    return PlayedSender(lambda _: reply)


def in_turn(*replies: Reply | Fault) -> PlayedSender:
    """Gives one answer after the other; a request too many fails the test."""
    rest = list(replies)

    def answer(request: Request) -> Reply | Fault:
        assert rest, f"an unexpected request: {request.method} {request.path}"
        return rest.pop(0)

    return PlayedSender(answer)


def refusing() -> PlayedSender:
    """Fails the test at any request."""
    return in_turn()


@dataclass(frozen=True)
class Exchange:
    request: Mapping[str, Any]
    reply: Reply | Fault


@dataclass(frozen=True)
class Case:
    """One recorded case: what is asked, with which call and options, what goes over the wire, what must come out."""

    label: str
    ask: str
    expect: Any
    call: Mapping[str, Any] = field(default_factory=dict)
    calls: Sequence[Mapping[str, Any]] = ()
    canary: Mapping[str, Any] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    line: Mapping[str, Any] = field(default_factory=dict)
    exchanges: Sequence[Exchange] = ()
    delivery: Mapping[str, Any] | None = None
    report: Mapping[str, Any] = field(default_factory=dict)

    def sender(self) -> "RecordedSender":
        return RecordedSender(list(self.exchanges))


@dataclass
class RecordedSender(PlayedSender):
    """Plays the exchanges of a case in order and checks each request against the recorded one."""

    def __init__(self, exchanges: list[Exchange]) -> None:
        super().__init__(self._play)
        self.rest = exchanges

    def _play(self, request: Request) -> Reply | Fault:
        assert self.rest, f"an unexpected request: {request.method} {request.path}"
        exchange = self.rest.pop(0)
        expect_request(exchange.request, request)
        return exchange.reply

    def assert_used(self) -> None:
        assert not self.rest, f"never asked: {[exchange.request for exchange in self.rest]}"


def expect_request(expected: Mapping[str, Any], request: Request) -> None:
    """``headers`` and ``query`` are subsets; ``json`` and ``form`` are whole; what is not named is not checked."""
    assert (request.method, request.path) == (expected["method"], expected["path"])
    headers = {name.lower(): value for name, value in request.headers.items()}
    for name, value in expected.get("headers", {}).items():
        assert headers.get(name.lower()) == value, f"header {name}"
    query = dict(request.query)
    for name, value in expected.get("query", {}).items():
        assert query.get(name) == value, f"query {name}"
    if "json" in expected:
        assert request.json == expected["json"]
    if "form" in expected:
        assert dict(request.form or ()) == expected["form"]


def reply(status: int = 200, json_body: Any = None, *, body: str | bytes | None = None, **headers: str) -> Reply:
    """A reply with ``json_body`` as JSON, or with ``body`` as it is. ``retry_after`` is the header Retry-After."""
    named = {name.replace("_", "-").lower(): value for name, value in headers.items()}
    if body is None:
        return Reply(status, {"content-type": "application/json"} | named, json.dumps(json_body).encode())
    return Reply(status, named, body.encode() if isinstance(body, str) else body)


def load_cases(provider: str) -> list[Case]:
    """Every case of ``recordings/PROVIDER/*.json``, with labels made unique by their file."""
    return [
        _case(file.stem, raw)
        for file in sorted((FOLDER / provider).glob("*.json"))
        for raw in json.loads(file.read_text("utf-8"))["cases"]
    ]


def _case(stem: str, raw: dict[str, Any]) -> Case:
    exchanges = tuple(Exchange(item["request"], _answer(item["reply"])) for item in raw.get("exchanges", ()))
    rest = {key: value for key, value in raw.items() if key not in ("label", "exchanges", "comment")}
    return Case(label=f"{stem}: {raw['label']}", exchanges=exchanges, **rest)


def _answer(raw: dict[str, Any]) -> Reply | Fault:
    if "fault" in raw:
        return Fault(sent=raw["fault"] == "sent", reason="recorded fault")
    headers = {name.lower(): value for name, value in raw.get("headers", {}).items()}
    return Reply(raw.get("status", 200), headers, body_of(raw))


def body_of(raw: Mapping[str, Any]) -> bytes:
    """The bytes of a recorded reply or delivery: ``json``, ``form`` or ``body``."""
    if "json" in raw:
        return json.dumps(raw["json"]).encode()
    if "form" in raw:
        return urlencode(raw["form"]).encode()
    return str(raw.get("body", "")).encode()


def json_bodies(case: Case) -> Iterable[Any]:
    """Every JSON that a recording shows: as answers and as deliveries."""
    bodies = [exchange.reply.body for exchange in case.exchanges if isinstance(exchange.reply, Reply)]
    for body in [*bodies, *([body_of(case.delivery)] if case.delivery else [])]:
        try:
            yield json.loads(body)
        except ValueError:
            continue


def delivered(raw: Mapping[str, Any]) -> WebhookDelivery:
    headers = {name.lower(): value for name, value in raw.get("headers", {}).items()}
    return WebhookDelivery(headers, raw.get("query", {}), body_of(raw), NOW, raw.get("verified", True))


def expect_value(seen: Any, expected: Any) -> None:
    """``expected`` names the fields that matter; lists are compared item by item and whole."""
    if isinstance(expected, dict) and not isinstance(seen, Mapping):
        for name, value in expected.items():
            expect_value(getattr(seen, name), value)
    elif isinstance(expected, list):
        assert len(seen) == len(expected), seen
        for one, other in zip(seen, expected, strict=True):
            expect_value(one, other)
    else:
        assert seen == expected
