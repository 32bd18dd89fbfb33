"""The suite that every provider passes. Subclass it as ``class TestMine(ProviderContract)``; it does not run by itself.

A subclass names the provider, its options, its documented statuses and states, and how an accepted answer and a state
look on the wire. Whatever is particular goes into ``recordings/PROVIDER/*.json``. ``docs/adding-a-provider.md`` walks
through it.
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaign.domain.calls import (
    CallReport,
    Finding,
    FindingKind,
    OutboundCall,
    RememberedCall,
    ReportStatus,
    WebhookDelivery,
)
from campaign.domain.dispositions import Disposition
from campaign.domain.line import Line
from campaign.domain.verdicts import PauseFault, Verdict, VerdictKind
from campaign.providers.port import Fault, Provider, Reply
from tests.providers.junk import JUNK, fuzzed, json_values, mutated
from tests.providers.recorded import (
    NOW,
    SENT_AT,
    Case,
    PlayedSender,
    always,
    delivered,
    drive,
    expect_value,
    in_turn,
    json_bodies,
    load_cases,
    refusing,
    reply,
)

OUR_REF = "0123456789abcdef0123456789abcdef"
PHONE = "+14155550123"
CANARY_PHONE = "+14155550199"
SECRET = "sk_canary_0123456789"  # with `_` and the credential's name before it; see `line`

DEFAULT_STATUSES: dict[int, VerdictKind] = {
    301: VerdictKind.PAUSE,
    302: VerdictKind.PAUSE,
    307: VerdictKind.PAUSE,
    401: VerdictKind.PAUSE,
    402: VerdictKind.PAUSE,
    403: VerdictKind.PAUSE,
    429: VerdictKind.THROTTLED,
    500: VerdictKind.UNCONFIRMED,
    502: VerdictKind.UNCONFIRMED,
    503: VerdictKind.UNCONFIRMED,
    504: VerdictKind.UNCONFIRMED,
}
"""What a status means where the provider's own documentation says nothing better. ``statuses`` of a subclass wins."""


class ProviderContract:
    """See the module's text. ``refused_statuses`` and the rest have defaults that suit most providers."""

    provider: ClassVar[type[Any]]
    options: ClassVar[Mapping[str, Any]] = {}
    caller_ids: ClassVar[tuple[str, ...]] = ("+14155550100",)
    phone: ClassVar[str] = PHONE
    canary_phone: ClassVar[str] = CANARY_PHONE
    statuses: ClassVar[Mapping[int, VerdictKind]] = {}
    """Every documented HTTP status of the originate request, but 200, with its verdict."""
    states: ClassVar[Mapping[str, Disposition | None]] = {}
    """Every documented state word; None where it is not final."""
    unknown_state: ClassVar[ReportStatus] = ReportStatus.PENDING
    """What a state word that nobody has documented leaves the call in."""
    junk: ClassVar[Mapping[str, VerdictKind]] = {}
    """Labels of JUNK whose documented meaning on originate is not UNCONFIRMED."""
    webhook_states: ClassVar[bool] = False
    """True where states come by webhook only: give `webhook_body` instead of `state_replies`."""

    # --- what a subclass gives ---

    def accepted(self, call: OutboundCall) -> Reply:
        """A documented success of the originate request."""
        raise NotImplementedError

    def state_replies(self, state: str, call: RememberedCall) -> list[Reply]:
        """The answers, in order, by which `results` learns that the call is in ``state``."""
        raise NotImplementedError

    def webhook_body(self, state: str, call: RememberedCall) -> dict[str, Any]:
        """The delivery that reports ``state``, where states come by webhook only."""
        raise NotImplementedError

    # --- what it may use ---

    def line(self, options: Mapping[str, Any] | None = None, **fields: Any) -> Line:
        """A line with canary secrets: credential ``name`` is ``sk_canary_0123456789_NAME``."""
        names = {*self.provider.credentials, "webhook_secret"}
        given = {
            "name": "recall",
            "provider": self.provider.name,
            "base_url": "https://provider.example",
            "credentials": {name: f"{SECRET}_{name}" for name in names},
            "caller_ids": self.caller_ids,
            "options": {**self.options, **(options or {})},
        }
        return Line.model_validate(given | fields)

    def make(self, sender: PlayedSender, options: Mapping[str, Any] | None = None, **fields: Any) -> Provider:
        made: Provider = self.provider(self.line(options, **fields), sender)
        return made

    def outbound(self, **fields: Any) -> OutboundCall:
        call = OutboundCall(
            OUR_REF, self.phone, self.caller_ids[0] if self.caller_ids else None, "autumn", {"Name": "Ada"}
        )
        return replace(call, **fields)

    def remembered(self, **fields: Any) -> RememberedCall:
        call_id = "0f1e2d3c-0000-4000-8000-00000000abcd"
        return replace(RememberedCall(7, OUR_REF, self.phone, call_id, SENT_AT, None), **fields)

    def canary(self, **fields: Any) -> RememberedCall:
        canary = RememberedCall(3, "f" * 32, self.canary_phone, "0f1e2d3c-0000-4000-8000-00000000cccc", SENT_AT - 600)
        return replace(canary, **fields)

    def expected_verdict(self, status: int) -> VerdictKind:
        return self.statuses.get(status, DEFAULT_STATUSES.get(status, VerdictKind.PAUSE))

    def all_statuses(self) -> list[int]:
        return sorted({*DEFAULT_STATUSES, *self.statuses})

    def refusal(self, status: int) -> Reply:
        """An error answer that repeats the number and the key, as real ones do."""
        said = f"refused: {self.phone} with key {SECRET}_api_key"
        return reply(status, {"message": said, "error": {"message": said}, "code": status, "status": status})

    def follow_ups(self, status: int) -> list[Reply]:
        """Answers to what `originate` asks after a refusal with ``status`` (a look for the cause)."""
        return []

    # --- parametrization ---

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        names: dict[str, Callable[[], Sequence[Any]]] = {
            "case": lambda: load_cases(self.provider.name),
            "status": self.all_statuses,
            "state": lambda: list(self.states),
            "junk_label": lambda: list(JUNK),
        }
        for name, values in names.items():
            if name in metafunc.fixturenames:
                found = values()
                ids = [value.label if isinstance(value, Case) else str(value) for value in found]
                metafunc.parametrize(name, found, ids=ids)

    # --- recorded exchanges ---

    def test_recorded(self, case: Case, caplog: pytest.LogCaptureFixture) -> None:
        # Given a recorded exchange, When the provider is asked, Then it asks and answers as recorded, and leaks nothing
        caplog.set_level(logging.DEBUG)
        sender = case.sender()
        provider = self.make(sender, case.options, **case.line)
        seen = self._ask(provider, case)
        expect_value(seen, case.expect)
        sender.assert_used()
        _leaks_nothing([seen, provider, *sender.requests], caplog, self.phone, self.canary_phone)

    def _ask(self, provider: Provider, case: Case) -> Any:
        canary = None if case.canary is None else self.canary(**case.canary)
        match case.ask:
            case "originate":
                return drive(provider.originate(self.outbound(**case.call)))
            case "results":
                return drive(provider.results([self.remembered(**each) for each in case.calls or [case.call]]))
            case "find":
                return drive(provider.find(self.remembered(**{"call_id": None, **case.call}), canary))
            case "cancel":
                return drive(provider.cancel(self.remembered(**case.call)))
            case "check":
                return drive(provider.check())
            case "identify":
                return drive(provider.identify(CallReport(**{"status": ReportStatus.PENDING, **case.report})))
            case "webhook":
                return provider.read_webhook(delivered(case.delivery or {}))
            case "challenge":
                return provider.webhook_challenge(delivered(case.delivery or {}))
        raise AssertionError(f"recording {case.label!r}: no such question {case.ask!r}")

    def test_has_recordings(self) -> None:
        asked = {case.ask for case in load_cases(self.provider.name)}
        assert asked >= {"originate"} and asked & {"results", "webhook"}  # noqa: PT018

    # --- originate ---

    def test_accepted_is_placed(self) -> None:
        call = self.outbound()
        assert drive(self.make(in_turn(self.accepted(call))).originate(call)).kind is VerdictKind.PLACED

    def test_each_status_has_its_verdict(self, status: int, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG)
        sender = in_turn(self.refusal(status), *self.follow_ups(status))
        verdict = drive(self.make(sender).originate(self.outbound()))
        assert verdict.kind is self.expected_verdict(status), verdict
        assert str(status) in verdict.raw
        assert verdict.reason or verdict.kind is VerdictKind.PLACED
        assert (verdict.fault is not None) == (verdict.kind is VerdictKind.PAUSE)
        _leaks_nothing([verdict, *sender.requests], caplog, self.phone)

    def test_key_credit_and_redirect_name_their_fault(self) -> None:
        faults = {401: PauseFault.AUTH, 402: PauseFault.CREDIT, 307: PauseFault.CONFIG}
        for status, fault in faults.items():
            if self.expected_verdict(status) is VerdictKind.PAUSE:
                sender = in_turn(self.refusal(status), *self.follow_ups(status))
                assert drive(self.make(sender).originate(self.outbound())).fault is fault

    @pytest.mark.parametrize(("said", "seconds"), [("7", 7.0), ("Wed, 18 Nov 2026 11:08:30 GMT", 20.0), ("soon", None)])
    def test_retry_after_is_read(self, said: str, seconds: float | None) -> None:
        sender = in_turn(reply(429, {"message": "slow down"}, retry_after=said))
        verdict = drive(self.make(sender).originate(self.outbound()))
        assert (verdict.kind, verdict.retry_after) == (VerdictKind.THROTTLED, seconds)

    def test_unsent_is_not_sent_and_sent_is_unconfirmed(self) -> None:
        for sent, kind in ((False, VerdictKind.NOT_SENT), (True, VerdictKind.UNCONFIRMED)):
            sender = in_turn(Fault(sent=sent, reason="the wire broke"))
            verdict = drive(self.make(sender).originate(self.outbound()))
            assert (verdict.kind, verdict.reason) == (kind, "the wire broke")

    def test_junk_is_unconfirmed(self, junk_label: str) -> None:
        verdict = drive(self.make(always(JUNK[junk_label])).originate(self.outbound()))
        assert verdict.kind is self.junk.get(junk_label, VerdictKind.UNCONFIRMED), verdict
        assert verdict.kind is not VerdictKind.PLACED or verdict.call_id != ""

    # --- results ---

    def test_each_state_has_its_disposition(self, state: str) -> None:
        report = self._report(state)
        expected = self.states[state]
        if expected is None:
            assert report.status is ReportStatus.PENDING
            assert report.disposition is None
        else:
            assert (report.status, report.disposition) == (ReportStatus.FINAL, expected)
        assert report.raw

    def test_an_unknown_state_word_is_kept_and_decides_nothing(self) -> None:
        report = self._report("SomethingNew")
        assert report.status is self.unknown_state
        assert report.disposition in (None, Disposition.UNKNOWN)
        assert "SomethingNew" in report.raw

    def _report(self, state: str) -> CallReport:
        call = self.remembered()
        if self.webhook_states:
            body = delivered({"json": self.webhook_body(state, call)})
            (report,) = self.make(refusing()).read_webhook(body)
            return report
        sender = in_turn(*self.state_replies(state, call))
        (report,) = drive(self.make(sender).results([call]))
        assert report.attempt_id == call.attempt_id
        return report

    def test_results_name_every_call(self) -> None:
        calls = [
            self.remembered(attempt_id=number, our_ref=f"{number:032x}")
            for number in range(1, min(self.provider.capabilities.poll_batch, 3) + 1)
        ]
        for answer in (Fault(True, "cut"), Fault(False, "refused"), reply(500, body="oops"), reply(429, {})):
            reports = drive(self.make(always(answer)).results(calls))
            assert sorted(report.attempt_id or 0 for report in reports) == [call.attempt_id for call in calls]
            assert {report.status for report in reports} == {ReportStatus.UNREACHABLE}

    def test_junk_on_results_is_never_final(self, junk_label: str) -> None:
        (report,) = drive(self.make(always(JUNK[junk_label])).results([self.remembered()]))
        assert report.status is not ReportStatus.FINAL

    def test_junk_never_proves_absence(self, junk_label: str) -> None:
        call = self.remembered(call_id=None)
        finding = drive(self.make(always(JUNK[junk_label])).find(call, self.canary()))
        assert finding.kind not in (FindingKind.ABSENT, FindingKind.FOUND)

    def test_a_look_that_fails_is_unreachable(self) -> None:
        if self._finds():
            for answer in (Fault(True, "cut"), Fault(False, "refused"), reply(500, body="oops"), reply(401, {})):
                finding = drive(self.make(always(answer)).find(self.remembered(call_id=None), self.canary()))
                assert finding.kind is FindingKind.UNREACHABLE
                assert finding.as_of == NOW

    # --- capabilities are honest ---

    def _finds(self) -> bool:
        return bool(self.provider.capabilities.find)

    def test_what_is_not_offered_makes_no_request(self) -> None:
        offers = self.provider.capabilities
        provider = self.make(refusing())
        if not offers.poll:
            (report,) = drive(provider.results([self.remembered()]))
            assert report.status in (ReportStatus.MISSING, ReportStatus.UNREACHABLE)
        if not offers.cancel:
            assert drive(provider.cancel(self.remembered())) is False
        if not self._finds():
            assert drive(provider.find(self.remembered(), self.canary())).kind is FindingKind.UNABLE
        if not offers.webhook:
            assert provider.read_webhook(delivered({"json": {"event": "ended"}})) == []

    def test_cancel_is_confirmed_only_by_the_provider(self) -> None:
        if self.provider.capabilities.cancel:
            for answer in (Fault(True, "cut"), reply(500, body="oops"), reply(401, {}), reply(302, body="")):
                assert drive(self.make(always(answer)).cancel(self.remembered())) is False

    def test_check(self) -> None:
        for answer, kinds in (
            (Fault(False, "refused"), {VerdictKind.NOT_SENT}),
            (reply(401, {}), {VerdictKind.PAUSE}),
            (reply(307, body=""), {VerdictKind.PAUSE}),
        ):
            assert drive(self.make(always(answer)).check()).kind in kinds

    # --- whatever comes, nothing is raised ---

    def test_any_json_is_survived(self) -> None:
        @fuzzed
        @given(json_values, st.sampled_from([200, 202, 400, 404, 422, 500]))
        def survives(value: Any, status: int) -> None:
            self._survives(reply(status, value))

        survives()

    def test_any_mutation_of_a_recorded_answer_is_survived(self) -> None:
        bodies = [each for case in load_cases(self.provider.name) for each in json_bodies(case)]

        @fuzzed
        @given(st.data())
        def survives(data: st.DataObject) -> None:
            value = data.draw(mutated(data.draw(st.sampled_from(bodies))))
            self._survives(reply(200, value))

        survives()

    def _survives(self, answer: Reply) -> None:
        call = self.remembered()
        assert isinstance(drive(self.make(always(answer)).originate(self.outbound())), Verdict)
        for report in drive(self.make(always(answer)).results([call])):
            self._is_sound(report)
        finding = drive(self.make(always(answer)).find(replace(call, call_id=None), self.canary()))
        assert isinstance(finding, Finding)
        drive(self.make(always(answer)).identify(CallReport(ReportStatus.PENDING, call_id="theirs")))
        for verified in (True, False):
            delivery = WebhookDelivery({}, {}, answer.body, NOW, verified)
            provider = self.make(refusing())
            provider.webhook_challenge(delivery)
            for report in provider.read_webhook(delivery):
                self._is_sound(report)
                assert report.attempt_id is None
                assert report.call_id or report.our_ref or report.phone

    def _is_sound(self, report: CallReport) -> None:
        assert (report.disposition is not None) == (report.status is ReportStatus.FINAL)
        report.raw.encode()
        for instant in (report.answered_at, report.ended_at):
            assert instant is None or 0 < instant < 1e12
        assert report.talk_seconds is None or 0 <= report.talk_seconds < 10**9

    def test_identify_asks_at_most_once_and_keeps_what_it_was_given(self, junk_label: str) -> None:
        report = CallReport(ReportStatus.FINAL, call_id="theirs", disposition=Disposition.BUSY, raw="busy")
        for answer in (JUNK[junk_label], Fault(True, "cut"), reply(500, body="oops")):
            sender = always(answer)
            identified = drive(self.make(sender).identify(report))
            assert replace(identified, our_ref=None) == report
            assert len(sender.requests) <= 1

    # --- nothing leaks ---

    def test_nothing_leaks(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG)
        call = self.outbound()
        sender = always(self.accepted(call))
        provider = self.make(sender)
        verdict = drive(provider.originate(call))
        _leaks_nothing([provider, self.line(), call, self.remembered(), verdict, *sender.requests], caplog, self.phone)

    def test_options_are_checked(self) -> None:
        with pytest.raises(ValueError, match="no_such_option") as refused:
            self.make(refusing(), {"no_such_option": f"{SECRET}_option"})
        assert SECRET not in str(refused.value)


def _leaks_nothing(things: Iterable[Any], caplog: pytest.LogCaptureFixture, *phones: str) -> None:
    text = "\n".join([*(f"{thing!r} {thing}" for thing in things), caplog.text])
    for secret in (SECRET, *(phone.lstrip("+")[-8:] for phone in phones)):
        assert secret not in text
