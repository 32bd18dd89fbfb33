"""Knovvu (Sestek) Virtual Agent: ``POST /v2/call`` triggers, ``POST /v2/callresult`` asks how calls ended, in batches.

Source: https://docs.knovvu.com/docs/va-outbound-call-trigger-api (read 2026-11). It documents the requests, the success
bodies and seven end states, and nothing else: no error status or body, no state of a call in progress, no list of
calls, no format of the result push. So a lost answer cannot be looked up (the attempt ends `unknown` and a person
decides), results come by polling alone, and what the page does not say is read in the way that cannot ring twice.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

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
from campaign.domain.line import Line, Words
from campaign.domain.verdicts import PauseFault, Verdict, pause, placed, unconfirmed
from campaign.providers import answers
from campaign.providers.port import Capabilities, Fault, Request, Sender

STATES: Mapping[str, Disposition] = {
    "answered": Disposition.ANSWERED,
    "busy": Disposition.BUSY,
    "noanswer": Disposition.NO_ANSWER,
    "rejected": Disposition.REJECTED,
    "invalidnumber": Disposition.INVALID_NUMBER,
    "temporarilyunavailable": Disposition.UNAVAILABLE,
    "error": Disposition.ERROR,
}
"""``CallState`` by its letters. The page prints "No Answer" and hides the wire's spelling behind a placeholder, so
``NoAnswer``, ``NO_ANSWER`` and ``no answer`` are one word here."""

POLL_BATCH = 100
"""Ids per ``/v2/callresult``. Ours: the page shows a list and names no limit; 100 ids are a request of 4 KB."""

NO_CALL = "00000000-0000-0000-0000-000000000000"

_RESERVED = frozenset({"_displaynumber", "_destination"})


class KnovvuOptions(Words):
    project: str = Field(min_length=1, description="`Project`: name of the Virtual Agent project")
    tenant: str = Field("Default", min_length=1, description="`Tenant`; the documentation's example is Default")
    scenario_path: str = Field(min_length=1, description="`ScenarioPath`: address of the IVR scenario")
    orchestrator_url: str = Field(min_length=1, description="`OrchestratorUrl`: address of the Orchestrator")
    locale: str | None = Field(None, description="`Locale` of the conversation, e.g. tr-TR")
    display_number: str | None = Field(None, description="`_DisplayNumber` as it is; without it the caller ID is shown")
    result_destination: str | None = Field(None, description="`ResultDestination`; we poll and do not listen there")
    send_result_immediately: bool | None = Field(None, description="`SendResultImmediately`; goes with the above")
    # The documentation's numbers are national (5xxxxxxxxx) and its rules are not given. E.164 is the default all the
    # same: a platform that cannot read it rings nobody, while a national number read in the wrong country rings a
    # stranger. For the same reason `national` leaves numbers of other countries in E.164.
    number_format: Literal["e164", "national", "digits"] = Field(
        "e164", description="how numbers are written: +905551234567, 5551234567 or 905551234567"
    )
    country_code: str | None = Field(
        None, pattern=r"^\+?[1-9]\d{0,2}$", description="the country that `national` is about, e.g. 90"
    )

    @model_validator(mode="after")
    def _national_needs_a_country(self) -> Self:
        if self.number_format == "national" and self.country_code is None:
            raise ValueError('number_format = "national" needs country_code, e.g. country_code = "90"')
        return self


class Knovvu:
    """One Knovvu installation. ``base_url`` includes the port: ``https://HOST:22222``."""

    name: ClassVar[str] = "knovvu"
    capabilities: ClassVar[Capabilities] = Capabilities(poll=True, variables=True, poll_batch=POLL_BATCH)
    options: ClassVar[type[Words]] = KnovvuOptions
    credentials: ClassVar[frozenset[str]] = frozenset({"access_token"})
    default_base_url: ClassVar[str | None] = None

    def __init__(self, line: Line, sender: Sender) -> None:
        self._sender = sender
        self._access_token = line.secret("access_token")
        self._options = KnovvuOptions.model_validate(line.options)

    async def originate(self, call: OutboundCall) -> Verdict:
        shown = self._options.display_number or self._written(call.caller_id or "")
        if not shown:
            return pause(PauseFault.CONFIG, "Knovvu needs a number to show; set caller_ids or options.display_number")
        reply = await self._sender.send(self._post("/v2/call", self._call_body(call, shown)))
        if isinstance(reply, Fault):
            return answers.fault_verdict(reply)
        if not 200 <= reply.status < 300:
            # No error status is documented. 400 and 422 could mean this number or our configuration; pausing with the
            # provider's words costs no target an attempt, taking it for a bad number might cost all of them.
            return answers.status_verdict(reply, self._sender.now(), _message(reply.body))
        call_id = answers.usable_id((answers.read_object(reply.body) or {}).get("UniqueId"))
        if call_id is None:
            # A success without an id looks like a refusal, but nothing documents it as one, and a call may be ringing.
            return unconfirmed("Knovvu accepted the request and gave no UniqueId", str(reply.status))
        return placed(call_id, str(reply.status))

    async def results(self, calls: Sequence[RememberedCall]) -> list[CallReport]:
        ids = list(dict.fromkeys(call.call_id for call in calls if call.call_id))
        if not ids:
            return [answers.unreachable(call, "Knovvu can only be asked by UniqueId") for call in calls]
        reply = await self._sender.send(self._post("/v2/callresult", {"UniqueIds": ids}))
        if isinstance(reply, Fault):
            return [answers.unreachable(call, reply.reason) for call in calls]
        states = _states(reply.body) if reply.status == 200 else None
        if states is None:
            return [answers.unreachable(call, "the answer holds no CallResults", str(reply.status)) for call in calls]
        return [_report(call, states) for call in calls]

    async def find(self, call: RememberedCall, canary: RememberedCall | None) -> Finding:
        """Always UNABLE: there is no list of calls, and ConversationId cannot be searched for."""
        reason = "Knovvu has no list of calls; a lost UniqueId cannot be recovered"
        return answers.nothing_found(FindingKind.UNABLE, self._sender.now(), reason)

    async def cancel(self, call: RememberedCall) -> bool:
        """Always False: not offered."""
        return False

    def read_webhook(self, delivery: WebhookDelivery) -> list[CallReport]:
        """Always []: what is posted to ResultDestination, and how it is signed, is not documented."""
        return []

    async def identify(self, report: CallReport) -> CallReport:
        return report

    def webhook_challenge(self, delivery: WebhookDelivery) -> Mapping[str, object] | None:
        return None

    async def check(self) -> Verdict:
        """Asks for the result of no call. It shows the address to be right; the token is first tried by a real call,
        because ``/v2/callresult`` is documented without one."""
        reply = await self._sender.send(self._post("/v2/callresult", {"UniqueIds": [NO_CALL]}))
        if isinstance(reply, Fault):
            return answers.fault_verdict(reply)
        if reply.status == 200 and _states(reply.body) is not None:
            return placed(None, "200")
        if 200 <= reply.status < 300:
            return pause(PauseFault.CONFIG, "what answers is not Knovvu; correct base_url (https://HOST:22222)")
        return answers.status_verdict(reply, self._sender.now())

    def _post(self, path: str, body: object) -> Request:
        # The documentation's curl says --header 'Project;', which sends the header Project with an empty value.
        return Request("POST", path, headers={"Project": ""}, json=body)

    def _call_body(self, call: OutboundCall, shown: str) -> dict[str, object]:
        options = self._options
        destination = self._written(call.phone)
        body: dict[str, object] = {
            "Project": options.project,
            "Tenant": options.tenant,
            "ConversationId": call.our_ref,
            "AccessToken": self._access_token,  # in the body by contract: so bodies are never logged
            "ScenarioPath": options.scenario_path,
            "OrchestratorUrl": options.orchestrator_url,
            "EndUser": _end_user(destination, call.variables),
            # _Destination is what is dialled; EndUser.Phone is only told to the scenario.
            "ScenarioInputParameters": [
                {"Name": "_DisplayNumber", "Value": shown},
                {"Name": "_Destination", "Value": destination},
                *_parameters(call.variables),
            ],
        }
        optional = {
            "Locale": options.locale,
            "ResultDestination": options.result_destination,
            "SendResultImmediately": options.send_result_immediately,
        }
        return body | {key: value for key, value in optional.items() if value is not None}

    def _written(self, phone: str) -> str:
        """An E.164 number as the line's `number_format` says."""
        match self._options.number_format:
            case "digits":
                return phone.removeprefix("+")
            case "national":
                return phone.removeprefix(f"+{(self._options.country_code or '').removeprefix('+')}")
        return phone


def _end_user(phone: str, variables: Mapping[str, str]) -> dict[str, str]:
    columns = {name.strip().lower(): value for name, value in variables.items()}
    named = {"Name": columns.get("name"), "Phone": phone, "Email": columns.get("email")}
    return {key: value for key, value in named.items() if value}


def _parameters(variables: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Name": name, "Value": value} for name, value in variables.items() if name.lower() not in _RESERVED]


def _message(body: bytes) -> str:
    """Whatever the refusal says of itself; the shape is not documented."""
    said = {key.lower(): value for key, value in (answers.read_object(body) or {}).items()}
    return answers.word(said.get("message")) or answers.word(said.get("error"))


def _states(body: bytes) -> dict[str, str] | None:
    """UniqueId → CallState as sent (``""`` where unreadable); None where the body is no list of results."""
    listed = (answers.read_object(body) or {}).get("CallResults")
    if not isinstance(listed, list):
        return None
    entries = [entry for entry in listed if isinstance(entry, dict)]
    return {
        key: answers.word(entry.get("CallState"))
        for entry in entries
        if (key := answers.usable_id(entry.get("UniqueId")))
    }


def _report(call: RememberedCall, states: Mapping[str, str]) -> CallReport:
    """What is answered for an unknown id or a call in progress is not documented: neither may end an attempt."""
    state = states.get(call.call_id or "")
    if state is None:
        return CallReport(ReportStatus.MISSING, call.attempt_id, call.call_id, reason="not among the CallResults")
    letters = "".join(sign for sign in state.lower() if "a" <= sign <= "z")
    disposition = STATES.get(letters)
    status = ReportStatus.PENDING if disposition is None else ReportStatus.FINAL
    return CallReport(status, call.attempt_id, call.call_id, disposition=disposition, raw=state)
