"""Pathors, by the contract of its documentation."""

from dataclasses import replace
from typing import Any, ClassVar

import pytest

from campaign.domain.calls import CallReport, OutboundCall, RememberedCall, ReportStatus
from campaign.domain.dispositions import Disposition
from campaign.domain.verdicts import VerdictKind
from campaign.providers.pathors import STATES, Pathors
from campaign.providers.port import Fault, Reply
from tests.providers.contract import OUR_REF, ProviderContract
from tests.providers.recorded import always, drive, in_turn, refusing, reply

SESSION = "2c4f9a13-7e6b-4d8a-9f25-c81e3a7b6d04"
UNKNOWN_SESSION = CallReport(ReportStatus.FINAL, call_id=SESSION, disposition=Disposition.BUSY, raw="busy")


class TestPathors(ProviderContract):
    provider = Pathors
    options: ClassVar[dict[str, Any]] = {"project_id": "proj_abc123"}
    phone = "+886987654321"
    canary_phone = "+886900000199"
    caller_ids = ("+886225550100",)
    statuses: ClassVar[dict[int, VerdictKind]] = {
        400: VerdictKind.PAUSE,
        404: VerdictKind.PAUSE,
        409: VerdictKind.CONFLICT,
    }
    states: ClassVar[dict[str, Disposition | None]] = dict(STATES)
    webhook_states = True
    unknown_state = ReportStatus.FINAL  # the call has ended, that much is sure; how, nobody can be asked

    def accepted(self, call: OutboundCall) -> Reply:
        return reply(200, {"success": True})

    def webhook_body(self, state: str, call: RememberedCall) -> dict[str, Any]:
        return {
            "event": "call.ended",
            "sessionId": SESSION,
            "projectId": "proj_abc123",
            "timestamp": "2026-11-18T11:07:40.512Z",
            "callStatus": state,
            "callDuration": 0,
        }

    def test_documented_states(self) -> None:
        # Given the list of the webhook page and the one of the status reference, Then each word is known
        webhook_page = "userHangup agentHangup transferred voicemail errorTransferred busy userNoAnswer userRejected"
        more = "invalidNumber sipTrunkFailure agentNoAnswer error unknown Ended transferFailed"
        assert set(STATES) == set(f"{webhook_page} {more}".split())

    @pytest.mark.parametrize(
        "body",
        [
            {"sessionId": SESSION, "state": {"variables": {"campaign_ref": OUR_REF}, "messages": []}},
            {"sessionId": SESSION, "data": {"variables": {"campaign_ref": OUR_REF}}, "createdAt": "…"},
            {"sessionId": SESSION, "state": {"metadata": f'{{"campaign_ref":"{OUR_REF}"}}'}},
        ],
    )
    def test_a_session_tells_whose_it_is(self, body: dict[str, Any]) -> None:
        # Given a webhook about a session that we never heard of
        sender = in_turn(reply(200, body))
        # When its session is asked for
        report = drive(self.make(sender).identify(UNKNOWN_SESSION))
        # Then our reference is filled in, and nothing else changed
        assert report == replace(UNKNOWN_SESSION, our_ref=OUR_REF)
        assert (sender.requests[0].method, sender.requests[0].path) == (
            "GET",
            f"/v1/projects/proj_abc123/sessions/{SESSION}",
        )

    @pytest.mark.parametrize(
        "answer",
        [
            reply(200, {"sessionId": SESSION, "state": {"variables": {}}}),
            reply(200, body="<html></html>"),
            reply(404, {"error": "Session not found"}),
            reply(500, {"campaign_ref": OUR_REF}),
            Fault(sent=True, reason="cut"),
        ],
    )
    def test_a_session_that_tells_nothing_leaves_the_report(self, answer: Reply | Fault) -> None:
        assert drive(self.make(always(answer)).identify(UNKNOWN_SESSION)) == UNKNOWN_SESSION

    def test_what_is_known_is_not_asked(self) -> None:
        known = replace(UNKNOWN_SESSION, our_ref=OUR_REF)
        assert drive(self.make(refusing()).identify(known)) == known

    def test_a_session_id_cannot_leave_its_path(self) -> None:
        # Given a webhook whose session id is a path, When it is asked for, Then it stays one segment
        sender = always(reply(404, {"error": "Session not found"}))
        drive(self.make(sender).identify(replace(UNKNOWN_SESSION, call_id="../../agent?x=1")))
        assert sender.requests[0].path == "/v1/projects/proj_abc123/sessions/..%2F..%2Fagent%3Fx%3D1"

    @pytest.mark.parametrize("project", ["", "a/b", "a b", "../x"])
    def test_a_project_that_is_no_id_is_refused(self, project: str) -> None:
        with pytest.raises(ValueError, match="project_id"):
            self.make(refusing(), {"project_id": project})
