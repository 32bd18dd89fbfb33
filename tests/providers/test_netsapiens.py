from typing import Any, ClassVar

import pytest

from campaign.domain.calls import FindingKind, OutboundCall, RememberedCall, ReportStatus
from campaign.domain.dispositions import Disposition
from campaign.domain.verdicts import VerdictKind
from campaign.providers.netsapiens import Netsapiens
from campaign.providers.port import Fault, Reply, Request
from tests.providers.contract import OUR_REF, ProviderContract
from tests.providers.recorded import PlayedSender, always, drive, refusing, reply

UNSET = "0000-00-00T00:00:00+00:00"
NOT_FOUND = reply(404, {"code": 404, "message": "Record not found"})


def record(number: int = 0, fields: dict[str, Any] | None = None) -> dict[str, Any]:
    whole = {
        "id": f"cdr-{number}",
        "call-orig-call-id": f"somebody-{number}",
        "call-answer-datetime": UNSET,
        "call-disconnect-datetime": "2026-11-18T11:07:35+00:00",
        "call-term-to-uri": "sip:14155550123@carrier.example",
    }
    return whole | (fields or {})


class TestNetsapiens(ProviderContract):
    provider = Netsapiens
    options: ClassVar[dict[str, Any]] = {"domain": "example.com", "user": "1000"}
    statuses: ClassVar[dict[int, VerdictKind]] = {
        400: VerdictKind.PAUSE,
        404: VerdictKind.PAUSE,
        409: VerdictKind.UNCONFIRMED,
    }
    junk: ClassVar[dict[str, VerdictKind]] = {
        "empty": VerdictKind.PLACED,  # the id is ours and the documented body of a success may be `{}`
        "empty object": VerdictKind.PLACED,
        "null data": VerdictKind.PLACED,
        "nested": VerdictKind.PLACED,
    }
    states: ClassVar[dict[str, Disposition | None]] = {
        "Orig: Bye": Disposition.NO_ANSWER,
        "Term: Bye": Disposition.NO_ANSWER,
        "Orig: Cancel": Disposition.CANCELED,
        "No Answer": Disposition.NO_ANSWER,
        "Term: 404": Disposition.INVALID_NUMBER,
        "Term: 408": Disposition.NO_ANSWER,
        "Term: 410": Disposition.INVALID_NUMBER,
        "Term: 480": Disposition.UNAVAILABLE,
        "Term: 484": Disposition.INVALID_NUMBER,
        "Term: 486": Disposition.BUSY,
        "Term: 487": Disposition.CANCELED,
        "Term: 500": Disposition.ERROR,
        "Term: 503": Disposition.ERROR,
        "Term: 600": Disposition.BUSY,
        "Term: 603": Disposition.REJECTED,
        "Term: 604": Disposition.INVALID_NUMBER,
        "No Dial Rule": Disposition.ERROR,
        "No ACK Timeout": Disposition.ERROR,
        "Reinv: 408": Disposition.ERROR,
        "Time Limit": Disposition.ERROR,
        "Disconnect": Disposition.ERROR,
        "Abandoned": Disposition.ANSWERED,
        "Transferred": None,
        "Moved": None,
        "Connect": None,
        "DTMF 1 entered": None,
        "New Forward Leg": None,
    }
    unknown_state = ReportStatus.FINAL  # ended without an answer, and nobody can tell how: `unknown`

    def accepted(self, call: OutboundCall) -> Reply:
        return reply(202, {"code": 202, "message": "Accepted"})

    def follow_ups(self, status: int) -> list[Reply]:
        return [NOT_FOUND] if status == 404 else []

    def state_replies(self, state: str, call: RememberedCall) -> list[Reply]:
        ended = record(0, {"call-orig-call-id": call.call_id, "call-disconnect-reason-text": state})
        return [NOT_FOUND, reply(200, [ended])]

    @pytest.mark.parametrize("text", ["Orig: Bye", "Term: 486", "No ACK Timeout", "Time Limit", "Something new", ""])
    def test_an_answer_on_the_contacts_leg_decides(self, text: str) -> None:
        ended = record(
            0,
            {
                "call-orig-call-id": OUR_REF,
                "call-answer-datetime": "2026-11-18T11:06:50Z",
                "call-disconnect-reason-text": text,
            },
        )
        sender = PlayedSender(lambda request: NOT_FOUND if "/calls/" in request.path else reply(200, [ended]))
        (report,) = drive(self.make(sender).results([self.remembered(call_id=OUR_REF)]))
        assert (report.disposition, report.answered_at) == (Disposition.ANSWERED, 1_795_000_010.0)

    @pytest.mark.parametrize("first", [0, 1])
    def test_pages_by_either_convention_show_every_record_once(self, first: int) -> None:
        # Given 250 records and a server that counts them from 0, or from 1, and ours is the last
        records = [record(number) for number in range(249)] + [record(249, {"call-orig-call-id": OUR_REF})]
        records[249]["call-disconnect-reason-text"] = "Term: 486"

        def answer(request: Request) -> Reply | Fault:
            if "/calls/" in request.path:
                return NOT_FOUND
            start = max(int(dict(request.query)["start"]) - first, 0)
            return reply(200, records[start : start + 100])

        # When the result is asked for, Then it is found
        sender = PlayedSender(answer)
        (report,) = drive(self.make(sender).results([self.remembered(call_id=OUR_REF)]))
        assert report.disposition is Disposition.BUSY
        assert len(sender.requests) == 4

    @pytest.mark.parametrize("first", [0, 1])
    def test_pages_shorter_than_asked_for_are_no_end(self, first: int) -> None:
        # Given a server that gives ten records a page whatever is asked, and ours is the 25th
        records = [record(number) for number in range(24)] + [record(24, {"call-orig-call-id": OUR_REF})]

        def answer(request: Request) -> Reply | Fault:
            start = max(int(dict(request.query).get("start", "0")) - first, 0)
            return NOT_FOUND if "/calls/" in request.path else reply(200, records[start : start + 10])

        finding = drive(self.make(PlayedSender(answer)).find(self.remembered(call_id=None), self.canary()))
        assert finding.kind is FindingKind.FOUND

    def test_records_that_do_not_end_prove_nothing(self) -> None:
        # Given a server that answers every page with the same hundred records, a known call among them
        known = record(0, {"call-orig-call-id": "f" * 32})
        page = reply(200, [known, *(record(number) for number in range(1, 100))])
        sender = PlayedSender(lambda request: NOT_FOUND if "/calls/" in request.path else page)
        finding = drive(self.make(sender).find(self.remembered(call_id=None), self.canary(call_id="f" * 32)))
        assert finding.kind is FindingKind.BLIND
        (report,) = drive(self.make(sender).results([self.remembered(call_id=None)]))
        assert report.status is ReportStatus.UNREACHABLE

    def test_contact_first_needs_whom_to_put_through_to(self) -> None:
        with pytest.raises(ValueError, match="needs `agent`"):
            self.make(refusing(), {"ring_first": "contact"})

    def test_a_domain_cannot_leave_its_place_in_the_path(self) -> None:
        for domain in ("a/b", "..%2f", "", "a b"):
            with pytest.raises(ValueError, match="domain"):
                self.make(refusing(), {"domain": domain})

    def test_placed_without_a_body_that_says_otherwise(self) -> None:
        for body in (b"", b" ", b"{}", b'{"code":202,"message":"Accepted"}'):
            verdict = drive(self.make(always(Reply(202, {}, body))).originate(self.outbound()))
            assert (verdict.kind, verdict.call_id) == (VerdictKind.PLACED, OUR_REF)
