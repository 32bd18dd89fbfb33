from collections.abc import Mapping
from typing import Any, ClassVar

from campaign.domain.calls import OutboundCall, RememberedCall
from campaign.domain.dispositions import Disposition
from campaign.domain.line import Line
from campaign.domain.verdicts import VerdictKind
from campaign.providers.port import Reply
from campaign.providers.sandbox import Sandbox
from tests.providers.contract import SECRET, ProviderContract
from tests.providers.recorded import always, drive, in_turn, reply

CALL_ID = "0f1e2d3c-0000-4000-8000-00000000abcd"


class TestSandbox(ProviderContract):
    provider = Sandbox
    statuses: ClassVar[dict[int, VerdictKind]] = {
        202: VerdictKind.UNCONFIRMED,  # the suite's body has no id
        400: VerdictKind.PAUSE,
        409: VerdictKind.CONFLICT,
        422: VerdictKind.PAUSE,
    }
    states: ClassVar[dict[str, Disposition | None]] = {
        "queued": None,
        "ringing": None,
        "talking": None,
        **{disposition.value: disposition for disposition in Disposition},
    }

    def line(self, options: Mapping[str, Any] | None = None, **fields: Any) -> Line:
        """The token is optional, so the suite does not know it."""
        named = {name: f"{SECRET}_{name}" for name in ("token", "webhook_secret")}
        return super().line(options, **({"credentials": named} | fields))

    def accepted(self, call: OutboundCall) -> Reply:
        return reply(202, {"id": CALL_ID, "ref": call.our_ref, "state": "queued"})

    def state_replies(self, state: str, call: RememberedCall) -> list[Reply]:
        ended = state not in ("queued", "ringing", "talking")
        shown = {"state": "ended", "outcome": state} if ended else {"state": state, "outcome": None}
        return [reply(200, {"calls": [shown | {"id": call.call_id, "ref": call.our_ref}], "unknown": []})]

    def test_needs_no_secret(self) -> None:
        # Given a line without credentials, When it dials, Then no Authorization leaves
        sender = in_turn(self.accepted(self.outbound()))
        provider = self.make(sender, credentials={})
        assert drive(provider.originate(self.outbound())).kind is VerdictKind.PLACED
        assert sender.requests[0].headers == {}

    def test_one_question_for_two_hundred_calls(self) -> None:
        calls = [self.remembered(attempt_id=number, call_id=f"id-{number}") for number in range(200)]
        sender = always(reply(200, {"calls": [], "unknown": []}))
        drive(self.make(sender).results(calls))
        assert len(sender.requests) == 1

    def test_one_look_asks_for_both_numbers(self) -> None:
        # Given a canary, When a call is looked for, Then one and the same query must show either
        sender = always(reply(200, {"calls": [], "next": None}))
        drive(self.make(sender).find(self.remembered(call_id=None), self.canary()))
        assert [value for name, value in sender.requests[0].query if name == "to"] == [self.phone, self.canary_phone]
        assert len(sender.requests) == 1
