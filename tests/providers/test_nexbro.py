from typing import Any, ClassVar

import pytest

from campaign.domain.calls import FindingKind, OutboundCall, RememberedCall
from campaign.domain.dispositions import Disposition
from campaign.domain.verdicts import VerdictKind
from campaign.providers.nexbro import Nexbro
from campaign.providers.port import Fault, Reply, Request
from tests.providers.contract import ProviderContract
from tests.providers.recorded import PlayedSender, always, drive, in_turn, reply

CALL_ID = "0f1e2d3c-0000-4000-8000-00000000abcd"
START = "2026-11-18 11:06:41"


def record(**fields: Any) -> dict[str, Any]:
    whole = {
        "call_uuid": CALL_ID,
        "destination_number": "14155550123",
        "start_time": START,
        "end_time": "2026-11-18 11:07:35",
        "status": "MISSED",
        "hangup_cause": "",
    }
    return whole | fields


class TestNexbro(ProviderContract):
    provider = Nexbro
    options: ClassVar[dict[str, Any]] = {"extension": 234, "gateway_uuid": "5b2c0d6e-0000-4000-8000-0000000000aa"}
    statuses: ClassVar[dict[int, VerdictKind]] = {
        400: VerdictKind.PAUSE,
        404: VerdictKind.LINE_NOT_READY,
        422: VerdictKind.REFUSED_CALL,
    }
    states: ClassVar[dict[str, Disposition | None]] = {
        "ANSWERED": Disposition.ANSWERED,
        "answered": Disposition.ANSWERED,
        "MISSED": Disposition.NO_ANSWER,
        "missed": Disposition.NO_ANSWER,
    }

    def accepted(self, call: OutboundCall) -> Reply:
        return reply(200, {"message": "Success.", "data": {"call_uuid": CALL_ID}})

    def state_replies(self, state: str, call: RememberedCall) -> list[Reply]:
        fields = record(status=state, end_time=None)
        return [reply(200, {"message": "Success.", "data": fields})]

    @pytest.mark.parametrize(
        ("cause", "disposition"),
        [
            ("USER_BUSY", Disposition.BUSY),
            ("The called party is busy.", Disposition.BUSY),
            ("CALL_REJECTED", Disposition.REJECTED),
            ("The call was declined.", Disposition.REJECTED),
            ("NO_ANSWER", Disposition.NO_ANSWER),
            ("NO_USER_RESPONSE", Disposition.NO_ANSWER),
            ("ALLOTTED_TIMEOUT", Disposition.NO_ANSWER),
            ("The party did not answer.", Disposition.NO_ANSWER),
            ("UNALLOCATED_NUMBER", Disposition.INVALID_NUMBER),
            ("INVALID_NUMBER_FORMAT", Disposition.INVALID_NUMBER),
            ("NUMBER_CHANGED", Disposition.INVALID_NUMBER),
            ("The number does not exist.", Disposition.INVALID_NUMBER),
            ("SUBSCRIBER_ABSENT", Disposition.UNAVAILABLE),
            ("USER_NOT_REGISTERED", Disposition.UNAVAILABLE),
            ("DESTINATION_OUT_OF_ORDER", Disposition.UNAVAILABLE),
            ("The destination is unreachable.", Disposition.UNAVAILABLE),
            ("ORIGINATOR_CANCEL", Disposition.CANCELED),
            ("NORMAL_CIRCUIT_CONGESTION", Disposition.ERROR),
            ("NORMAL_TEMPORARY_FAILURE", Disposition.ERROR),
            ("NETWORK_OUT_OF_ORDER", Disposition.ERROR),
            ("GATEWAY_DOWN", Disposition.ERROR),
            ("NORMAL_CLEARING", Disposition.NO_ANSWER),
            ("", Disposition.NO_ANSWER),
        ],
    )
    def test_a_missed_call_is_refined_by_its_cause(self, cause: str, disposition: Disposition) -> None:
        body = {"data": record(hangup_cause=cause)}
        (report,) = drive(self.make(always(reply(200, body))).results([self.remembered()]))
        assert report.disposition is disposition

    def test_an_unknown_status_of_an_ended_call_is_unknown(self) -> None:
        # Given a record that has ended with a status that nobody documents, and a cause that says nothing
        body = {"data": record(status="Weird", hangup_cause="NORMAL_CLEARING")}
        (report,) = drive(self.make(always(reply(200, body))).results([self.remembered()]))
        # Then a person decides; the word is kept
        assert (report.disposition, report.raw) == (Disposition.UNKNOWN, "Weird / NORMAL_CLEARING")

    def test_all_pages_are_read_before_an_absence_counts(self) -> None:
        # Given a list of which the first page is full and the call is on the second
        full = [record(call_uuid=f"x-{number}", destination_number="14155550177") for number in range(100)]
        sender = in_turn(
            reply(200, {"data": {"current_page": 1, "data": full}}),
            reply(200, {"data": {"current_page": 2, "data": [record()]}}),
        )
        finding = drive(self.make(sender).find(self.remembered(call_id=None), self.canary()))
        assert (finding.kind, finding.call_id) == (FindingKind.FOUND, CALL_ID)
        assert [dict(request.query)["page"] for request in sender.requests] == ["1", "2"]

    def test_pages_shorter_than_asked_for_are_no_end(self) -> None:
        # Given an exchange that gives ten rows a page whatever is asked, and the call is the 25th
        rows = [record(call_uuid=f"x-{number}", destination_number="14155550177") for number in range(24)] + [record()]

        def answer(request: Request) -> Reply | Fault:
            page = int(dict(request.query)["page"])
            return reply(200, {"data": {"data": rows[page * 10 - 10 : page * 10]}})

        finding = drive(self.make(PlayedSender(answer)).find(self.remembered(call_id=None), self.canary()))
        assert (finding.kind, finding.call_id) == (FindingKind.FOUND, CALL_ID)

    def test_a_list_that_ignores_the_page_is_blind(self) -> None:
        # Given an exchange that answers every page with the same full one
        full = [record(call_uuid=f"x-{number}", destination_number="14155550177") for number in range(100)]
        sender = always(reply(200, {"data": {"data": full}}))
        finding = drive(self.make(sender).find(self.remembered(call_id=None), self.canary()))
        assert finding.kind is FindingKind.BLIND
        assert len(sender.requests) == 2

    def test_one_fault_of_a_page_is_unreachable(self) -> None:
        full = [record(call_uuid=f"x-{number}", destination_number="14155550177") for number in range(100)]

        def answer(request: Request) -> Reply | Fault:
            first = dict(request.query)["page"] == "1"
            return reply(200, {"data": {"data": full}}) if first else Fault(True, "cut")

        finding = drive(self.make(PlayedSender(answer)).find(self.remembered(call_id=None), self.canary()))
        assert finding.kind is FindingKind.UNREACHABLE

    def test_an_unknown_zone_is_refused(self) -> None:
        with pytest.raises(ValueError, match="time_zone"):
            self.make(in_turn(), {"time_zone": "Mars/Olympus"})
