"""MobTexting, by the contract of its documentation repository."""

from typing import Any, ClassVar

import pytest

from campaign.domain.calls import OutboundCall, RememberedCall
from campaign.domain.dispositions import Disposition
from campaign.domain.verdicts import VerdictKind
from campaign.providers.mobtexting import MobTexting
from campaign.providers.port import Reply
from tests.providers.contract import ProviderContract
from tests.providers.recorded import drive, in_turn, refusing, reply


class TestMobTexting(ProviderContract):
    provider = MobTexting
    options: ClassVar[dict[str, Any]] = {"flow_id": "23"}
    statuses: ClassVar[dict[int, VerdictKind]] = {
        202: VerdictKind.UNCONFIRMED,  # "request accepted": with a body that says neither OK nor 200
        400: VerdictKind.PAUSE,
        404: VerdictKind.PAUSE,
        409: VerdictKind.THROTTLED,
        422: VerdictKind.PAUSE,
    }
    states: ClassVar[dict[str, Disposition | None]] = {
        "queued": None,
        "ANSWER": Disposition.ANSWERED,
        "BUSY": Disposition.BUSY,
        "NOANSWER": Disposition.NO_ANSWER,
        "CANCEL": Disposition.CANCELED,
        "CONGESTION": Disposition.UNAVAILABLE,
        "CHANUNAVAIL": Disposition.UNAVAILABLE,
        "COMPLETED": Disposition.ANSWERED,
        "RECEIVED": None,
        "MISSED": None,
    }

    def accepted(self, call: OutboundCall) -> Reply:
        item = {"id": "3b69aca9-3b55-4e2d-bfe0-02b910dbe156", "channel": "outgoing", "status": "queued"}
        return reply(200, {"status": "OK", "message": "Calls queued successfully", "data": [item]})

    def state_replies(self, state: str, call: RememberedCall) -> list[Reply]:
        item = {"id": call.call_id, "status": state, "start_at": "2026-11-18 11:06:50", "end_at": "2026-11-18 11:07:20"}
        return [reply(200, {"status": 200, "message": "OK", "data": [item]})]

    @pytest.mark.parametrize(
        ("options", "named"),
        [
            ({"flow_id": None}, "exactly one of ivr_id, flow_id and audio"),
            ({"audio": "https://media.example/a.mp3"}, "exactly one of ivr_id, flow_id and audio"),
            ({"provider_retry_interval": 10}, "provider_retry_interval"),
            ({"encoding": "xml"}, "encoding"),
            ({"time_zone": "Bangalore"}, "time_zone"),
        ],
    )
    def test_options_that_do_not_fit_are_named(self, options: dict[str, Any], named: str) -> None:
        with pytest.raises(ValueError, match=named):
            self.make(refusing(), options)

    @pytest.mark.parametrize("minutes", [5, 15, 30, 45, 60])
    def test_every_documented_interval_is_sent(self, minutes: int) -> None:
        sender = in_turn(self.accepted(self.outbound()))
        drive(self.make(sender, {"provider_retry_interval": minutes}).originate(self.outbound()))
        assert dict(sender.requests[0].form or ())["interval"] == str(minutes)

    def test_without_an_interval_none_is_sent(self) -> None:
        # Given a line that does not delegate retries, Then MobTexting is not told to dial again by itself
        sender = in_turn(self.accepted(self.outbound()))
        drive(self.make(sender).originate(self.outbound()))
        assert "interval" not in dict(sender.requests[0].form or ())
