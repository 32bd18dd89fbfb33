"""A search by number and time, where an earlier call to the number stands in the list beside the one that is sought."""

from typing import Any

import pytest
from pydantic import SecretStr

from campaign.domain.calls import FindingKind, RememberedCall
from campaign.domain.line import Line
from campaign.providers.mobtexting import MobTexting
from campaign.providers.nexbro import Nexbro
from campaign.providers.port import Provider, Reply, Request
from tests.providers.recorded import SENT_AT, PlayedSender, drive, reply

EARLIER, OURS, CANARY = (f"0f1e2d3c-0000-4000-8000-00000000000{n}" for n in (1, 2, 3))
PHONE, CANARY_PHONE = "+14155550123", "+14155550155"
CANARY_CALL = RememberedCall(3, "f" * 32, CANARY_PHONE, CANARY, SENT_AT)


def nexbro(sender: PlayedSender) -> Provider:
    options = {"extension": 234, "gateway_uuid": "5b2c0d6e-0000-4000-8000-0000000000aa"}
    return Nexbro(_line("nexbro", "api_key", options), sender)


def mobtexting(sender: PlayedSender) -> Provider:
    return MobTexting(_line("mobtexting", "token", {"flow_id": "23", "time_zone": "UTC"}), sender)


def _line(provider: str, credential: str, options: dict[str, Any]) -> Line:
    secrets = {credential: SecretStr("x")}
    return Line(name="one", provider=provider, base_url="https://api.example", credentials=secrets, options=options)


def listing(*calls: tuple[str, str, str]) -> PlayedSender:
    """Answers in the words of both; (id, number, time of day) are of the calls there are."""

    def answer(request: Request) -> Reply:
        asked = dict(request.query).get("query") or dict(request.query).get("mobile")
        rows = [
            {"call_uuid": call_id, "id": call_id, "destination_number": to[1:], "to": to[1:], "status": "MISSED"}
            | {"start_time": f"2026-11-18 {at}", "created_at": f"2026-11-18 {at}", "end_time": f"2026-11-18 {at}"}
            for call_id, to, at in calls
            if to[1:] == asked
        ]
        data: Any = {"data": rows} if "query" in dict(request.query) else rows
        return reply(200, {"status": "OK", "data": data})

    return PlayedSender(answer)


EARLIER_ROW, OUR_ROW = (EARLIER, PHONE, "11:06:38"), (OURS, PHONE, "11:06:44")
CANARY_ROW = (CANARY, CANARY_PHONE, "11:06:41")
by_number = pytest.mark.parametrize("make", [nexbro, mobtexting])


def sought(*others: str) -> RememberedCall:
    return RememberedCall(7, "a" * 32, PHONE, None, SENT_AT, others=frozenset(others))


@by_number
def test_the_call_beside_another_attempts_is_found(make: Any) -> None:
    # Given two calls to the number, the earlier of which is known to be another attempt's
    sender = listing(EARLIER_ROW, OUR_ROW, CANARY_ROW)
    # When ours is looked for, Then it is the other one
    finding = drive(make(sender).find(sought(EARLIER), CANARY_CALL))
    assert (finding.kind, finding.call_id) == (FindingKind.FOUND, OURS)


@by_number
def test_only_another_attempts_call_in_a_list_that_shows_the_canary_is_an_absence(make: Any) -> None:
    finding = drive(make(listing(EARLIER_ROW, CANARY_ROW)).find(sought(EARLIER), CANARY_CALL))
    assert finding.kind is FindingKind.ABSENT


@by_number
def test_only_another_attempts_call_in_a_list_without_the_canary_proves_nothing(make: Any) -> None:
    finding = drive(make(listing(EARLIER_ROW)).find(sought(EARLIER), CANARY_CALL))
    assert finding.kind is FindingKind.BLIND


@by_number
def test_a_call_that_is_not_known_to_be_anothers_is_taken_for_ours(make: Any) -> None:
    # Given a call at our time, and nobody who says whose it is, Then we do not dare to call it absent
    finding = drive(make(listing(EARLIER_ROW, CANARY_ROW)).find(sought(), CANARY_CALL))
    assert finding.kind is FindingKind.FOUND
