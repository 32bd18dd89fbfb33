"""From a good answer to the one that a fault asks for. Pure."""

from collections.abc import Callable
from dataclasses import replace
from email.utils import formatdate

from campaign.providers.simulator.faults import FaultRule
from campaign.providers.simulator.wire import Answer, Manner

HTML = b"<!DOCTYPE html><html><head><title>Welcome</title></head><body><h1>It works!</h1></body></html>"
GARBAGE = b'{"id": "\xff\xfe\x00half a thought \x1b[31m'


def spoiled(answer: Answer, rule: FaultRule, without_id: Answer) -> Answer:
    """``answer`` as ``rule`` leaves it. ``without_id`` is the same answer with the id missing."""
    match rule.kind:
        case "slow":
            return replace(answer, delay=rule.span)
        case "drip":
            return replace(answer, manner=Manner.DRIP, pause=rule.span)
        case "giant":
            return replace(answer, body=b'{"padding":"' + b"x" * rule.size + b'"}')
        case "reset_after":
            return replace(answer, manner=Manner.RESET)
        case "hang_after":
            return replace(answer, manner=Manner.HANG, delay=rule.span)
        case "cut_after":
            return replace(answer, manner=Manner.CUT)
        case "garbage":
            return replace(answer, body=GARBAGE)
        case "html":
            return Answer(200, HTML, content_type="text/html")
        case "empty":
            return replace(answer, body=b"")
        case "no_id":
            return without_id
        case _:
            return answer


def refused(rule: FaultRule, refusal: Callable[[int, str], Answer], now: float) -> Answer:
    """The answer of a fault that has a status, a reset or a hang; ``refusal`` is the dialect's error body."""
    if rule.kind == "reset":
        return Answer(0, manner=Manner.RESET)
    if rule.kind == "hang":
        return Answer(0, manner=Manner.HANG, delay=rule.span)
    assert rule.status is not None
    answer = refusal(rule.status, rule.message or "as ordered by a fault")
    return replace(answer, headers=answer.headers + _headers(rule, now))


def too_many(refusal: Callable[[int, str], Answer], retry_after: int) -> Answer:
    """The answer to a request beyond the account's own limits."""
    answer = refusal(429, "too many requests")
    return replace(answer, headers=(*answer.headers, ("Retry-After", str(retry_after))))


def _headers(rule: FaultRule, now: float) -> tuple[tuple[str, str], ...]:
    if rule.status is not None and 300 <= rule.status < 400:
        return (("Location", rule.location),)
    if rule.retry_after is None:
        return ()
    if rule.retry_after_as == "date":
        return (("Retry-After", formatdate(now + rule.retry_after, usegmt=True)),)
    return (("Retry-After", f"{rule.retry_after:g}"),)
