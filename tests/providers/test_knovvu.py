"""Knovvu, by the contract of its page."""

from typing import Any, ClassVar

import pytest

from campaign.domain.calls import OutboundCall, RememberedCall, ReportStatus
from campaign.domain.dispositions import Disposition
from campaign.domain.verdicts import VerdictKind
from campaign.providers.knovvu import POLL_BATCH, Knovvu
from campaign.providers.port import Reply
from tests.providers.contract import ProviderContract
from tests.providers.recorded import drive, in_turn, refusing, reply


class TestKnovvu(ProviderContract):
    provider = Knovvu
    options: ClassVar[dict[str, Any]] = {
        "project": "Recall",
        "scenario_path": "https://va.example/scenario/recall",
        "orchestrator_url": "https://va.example/orchestrator",
    }
    statuses: ClassVar[dict[int, VerdictKind]] = {  # none is documented; these are the ones that must not cost a target
        400: VerdictKind.PAUSE,
        404: VerdictKind.PAUSE,
        422: VerdictKind.PAUSE,
    }
    states: ClassVar[dict[str, Disposition | None]] = {
        "Answered": Disposition.ANSWERED,
        "Busy": Disposition.BUSY,
        "No Answer": Disposition.NO_ANSWER,
        "NoAnswer": Disposition.NO_ANSWER,
        "NO_ANSWER": Disposition.NO_ANSWER,
        "Rejected": Disposition.REJECTED,
        "Invalid Number": Disposition.INVALID_NUMBER,
        "Temporarily Unavailable": Disposition.UNAVAILABLE,
        "Error": Disposition.ERROR,
        "In Progress": None,
    }

    def accepted(self, call: OutboundCall) -> Reply:
        return reply(200, {"UniqueId": "7c9e6679-7425-40de-944b-e07fc1f90ae7"})

    def state_replies(self, state: str, call: RememberedCall) -> list[Reply]:
        return [reply(200, {"CallResults": [{"UniqueId": call.call_id, "CallRequestId": "", "CallState": state}]})]

    def test_a_whole_batch_is_one_question(self) -> None:
        # Given as many placed calls as one question may name
        calls = [self.remembered(attempt_id=number, call_id=f"id-{number}") for number in range(POLL_BATCH)]
        sender = in_turn(
            reply(200, {"CallResults": [{"UniqueId": call.call_id, "CallState": "Busy"} for call in calls]})
        )
        # When their results are asked for
        reports = drive(self.make(sender).results(calls))
        # Then one request names them all and every call has its report
        assert self.provider.capabilities.poll_batch == POLL_BATCH
        (request,) = sender.requests
        assert request.json == {"UniqueIds": [call.call_id for call in calls]}
        assert {report.status for report in reports} == {ReportStatus.FINAL}
        assert [report.attempt_id for report in reports] == list(range(POLL_BATCH))

    @pytest.mark.parametrize(
        ("options", "named"),
        [
            ({"number_format": "national"}, "country_code"),
            ({"number_format": "local"}, "number_format"),
            ({"country_code": "TR"}, "country_code"),
            ({"scenario_path": ""}, "scenario_path"),
        ],
    )
    def test_options_that_do_not_fit_are_named(self, options: dict[str, Any], named: str) -> None:
        with pytest.raises(ValueError, match=named):
            self.make(refusing(), options)

    def test_the_access_token_is_in_the_body_and_in_no_repr(self) -> None:
        # Given a call that went out
        sender = in_turn(self.accepted(self.outbound()))
        provider = self.make(sender)
        drive(provider.originate(self.outbound()))
        # Then the token is where the contract wants it, and nowhere that could be logged
        (request,) = sender.requests
        assert isinstance(request.json, dict)
        assert request.json["AccessToken"] == "sk_canary_0123456789_access_token"
        assert "sk_canary" not in f"{request!r} {provider!r} {request.path} {request.headers}"
