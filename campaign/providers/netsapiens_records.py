"""What NetSapiens' active calls, call detail records and events mean. Pure; part of ``netsapiens.py``.

Field names come in two spellings, hyphenated in the schema and with underscores in its own examples and in events; both
are read. Unset times may be ``0000-00-00T00:00:00+00:00``. ``call-direction`` is not used: integrators read its figures
in three contradicting ways. The list of ``call-disconnect-reason-text`` is not published; the table below is what
integrators have seen (PROVIDERS.md 2.9), and what SIP says about the other status codes.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from campaign.domain.calls import CallReport, RememberedCall, ReportStatus
from campaign.domain.dispositions import Disposition
from campaign.providers import answers

Record = Mapping[str, object]

_OUR_REF = re.compile(r"[0-9a-f]{32}")
_SIP = re.compile(r"(?:term|orig):\s*([1-6]\d\d)\b", re.IGNORECASE)

_JOINS = (
    ("call-orig-call-id", "orig_callid"),
    ("call-through-call-id", "through_callid"),
    ("call-parent-call-id", "parent_callid"),
    ("call-by-call-id", "by_callid"),
)
_TERM = (
    ("call-term-to-uri", "term_to_uri", "call-term-uri", "term_uri"),
    ("call-orig-to-user", "orig_to_user"),
    ("call-orig-request-user", "orig_req_user"),
    ("call-term-user", "term_sub"),
    ("call-term-caller-id", "term_caller_id"),
    ("call-dialed-number", "dnis"),
)
_ORIG = (
    ("call-orig-user", "orig_sub"),
    ("call-orig-from-user", "orig_from_user"),
    ("call-orig-caller-id", "orig_caller_id"),
    ("call-orig-from-uri", "orig_from_uri", "call-orig-uri", "orig_uri"),
)
_ANSWER = ("call-answer-datetime", "time_answer")
_END = ("call-disconnect-datetime", "time_release")
_TEXT = ("call-disconnect-reason-text", "release_text")
_TALK = ("call-talking-duration-seconds", "time_talking")

SIP_MEANINGS: dict[int, Disposition] = {
    404: Disposition.INVALID_NUMBER,  # can be a routing fault too; the raw text is kept
    408: Disposition.NO_ANSWER,
    410: Disposition.INVALID_NUMBER,
    480: Disposition.UNAVAILABLE,
    484: Disposition.INVALID_NUMBER,
    486: Disposition.BUSY,
    487: Disposition.CANCELED,
    600: Disposition.BUSY,
    603: Disposition.REJECTED,
    604: Disposition.INVALID_NUMBER,
}
"""``Term: 486`` and so on, for a leg without an answer. Any other 4xx, 5xx or 6xx is `error`."""

TEXT_MEANINGS: dict[str, Disposition] = {
    "orig: bye": Disposition.NO_ANSWER,
    "term: bye": Disposition.NO_ANSWER,
    "orig: cancel": Disposition.CANCELED,
    "no answer": Disposition.NO_ANSWER,
    "no dial rule": Disposition.ERROR,  # the dial plan has no match: a gap of the plan must not burn numbers for good
    "no ack timeout": Disposition.ERROR,
    "reinv: 408": Disposition.ERROR,
    "time limit": Disposition.ERROR,
    "disconnect": Disposition.ERROR,
    "abandoned": Disposition.ANSWERED,  # waited in a queue of ours and left
}
"""For a leg without an answer; with one, the answer decides."""

_INTERMEDIATE = ("transferred", "moved", "connect", "new forward leg")
_DTMF = re.compile(r"dtmf .* entered", re.IGNORECASE)


def rows(value: object) -> list[Record] | None:
    """The objects of a JSON array, or a single object; None for anything else. Empty objects say nothing."""
    if isinstance(value, dict):
        return [value] if value else []
    if not isinstance(value, list):
        return None
    return [row for row in value if isinstance(row, dict) and row]


def key(record: Record) -> str:
    """What tells records apart when pages touch."""
    return answers.usable_id(record.get("id")) or repr(sorted(record.items(), key=lambda item: item[0]))


def legs_of(records: Iterable[Record], call_id: str) -> list[Record]:
    """The records that belong to the call with our id."""
    return [record for record in records if any(_first(record, names) == call_id for names in _JOINS)]


def is_call(row: Record) -> bool:
    """True for what has a call's id in it, whichever: any other JSON object is no active call."""
    return any(answers.usable_id(_first(row, names)) for names in (*_JOINS, ("call-term-call-id", "term_callid")))


def active_word(call: Record) -> str:
    """The state of an active call in the provider's words: ``active``, ``progressing`` …"""
    states = (_first(call, ("call-orig-info", "orig_call_info")), _first(call, ("term-orig-info", "term_call_info")))
    return " / ".join(filter(None, map(answers.word, states))) or "active"


def answered_at(record: Record) -> float | None:
    return answers.instant(_first(record, _ANSWER))


def report(legs: Sequence[Record], call: RememberedCall, ring_first: str) -> CallReport:
    """The result, by the leg that rang the contact. An answer there decides; the text explains only a missing one."""
    final = [leg for leg in legs if not is_intermediate(answers.word(_first(leg, _TEXT)))]
    leg, certain = _contact_leg(final, call.phone, ring_first)
    call = replace(call, call_id=call.call_id or call.our_ref)
    if leg is None:
        return answers.pending(call, _texts(legs), "only intermediate legs are recorded")
    text, answered, ended = answers.word(_first(leg, _TEXT)), answered_at(leg), answers.instant(_first(leg, _END))
    if not text and answered is None and ended is None:
        return answers.pending(call, _texts(legs), "the record has neither an answer nor an end")
    disposition = _disposition(leg, text, answered) if certain or answered is None else None
    is_answered = disposition in (Disposition.ANSWERED, Disposition.VOICEMAIL)
    return CallReport(
        ReportStatus.FINAL,
        call.attempt_id,
        call_id=call.call_id,
        our_ref=call.our_ref,
        disposition=disposition or Disposition.UNKNOWN,
        raw=text or "no text",
        reason="" if disposition else "the records do not say how the contact's leg ended",
        answered_at=answered if is_answered else None,
        ended_at=ended,
        talk_seconds=answers.whole_seconds(_first(leg, _TALK)) if is_answered else None,
    )


def _contact_leg(legs: Sequence[Record], phone: str, ring_first: str) -> tuple[Record | None, bool]:
    """The leg that rang the contact, and whether that is certain.

    The contact is the terminating side of leg 2 when the agent is rung first. When the contact is rung first, it is the
    terminating side of the platform's own first leg, or, where one record shows both, the originating side.
    """
    if not legs:
        return None, False
    for fields in (_TERM, _ORIG) if ring_first == "contact" else (_TERM,):
        named = [leg for leg in legs if _names(leg, fields, phone)]
        if named:
            return _most_telling(named), True
    nobody_named = all(_first(leg, names) is None for leg in legs for names in _TERM)
    return _most_telling(legs), len(legs) == 1 and nobody_named


def _names(leg: Record, fields: Iterable[tuple[str, ...]], phone: str) -> bool:
    return any(answers.same_number(phone, _user_part(_first(leg, names))) for names in fields)


def _user_part(value: object) -> object:
    """``sip:14155550123@example.com`` → ``14155550123``."""
    return value.removeprefix("sip:").split("@")[0] if isinstance(value, str) else value


def _most_telling(legs: Sequence[Record]) -> Record:
    return next((leg for leg in legs if answered_at(leg) is not None), legs[-1])


def _disposition(leg: Record, text: str, answered: float | None) -> Disposition | None:
    """None for a text that nobody has seen, on a leg without an answer."""
    if _went_to_voicemail(leg):
        return Disposition.VOICEMAIL
    if answered is not None:
        return Disposition.ANSWERED
    return by_text(text)


def _went_to_voicemail(leg: Record) -> bool:
    """The platform's own mailbox; the API detects none on the contact's telephone."""
    return any("vmail" in answers.word(_first(leg, names)).lower() for names in (_TERM[0], _TERM[3]))


def by_text(text: str) -> Disposition | None:
    """What a reason text means for a leg without an answer; None where nobody knows."""
    known = TEXT_MEANINGS.get(text.lower())
    sip = _SIP.fullmatch(text.strip())
    if known is not None or sip is None:
        return known
    code = int(sip[1])
    return SIP_MEANINGS.get(code, Disposition.ERROR if code >= 400 else None)


def is_intermediate(text: str) -> bool:
    """A leg that only leads to the next one."""
    return text.lower() in _INTERMEDIATE or _DTMF.fullmatch(text) is not None


def event_report(event: Record, *, verified: bool) -> CallReport | None:
    """What one webhook event says, or None where it is not about a call of ours.

    ``call`` events carry no cause and are hints to ask. A ``cdr`` event with ``release_code`` `end` is final where it
    is verified and its text can only mean that nobody answered; an invalid number is too grave for one leg's word, and
    a `Bye` does not say whether there was an answer, so both are hints as well.
    """
    our_ref = next(
        (found for names in _JOINS if isinstance(found := _first(event, names), str) and _OUR_REF.fullmatch(found)),
        None,
    )
    if our_ref is None:
        return None
    if event.get("object") == "cdr" or "release_code" in event:
        return _cdr_event(event, our_ref, verified)
    removed = answers.word(event.get("remove")).lower() == "yes"
    raw = "removed" if removed else active_word(event)
    reason = "over at the provider; ask for the result" if removed else ""
    return CallReport(ReportStatus.PENDING, call_id=our_ref, our_ref=our_ref, raw=raw, reason=reason)


def _cdr_event(event: Record, our_ref: str, verified: bool) -> CallReport | None:
    text = answers.word(_first(event, _TEXT))
    if answers.word(event.get("release_code")).lower() != "end" or is_intermediate(text):
        return None
    disposition = by_text(text)
    telling = text.lower() not in ("orig: bye", "term: bye") and disposition not in _TOO_GRAVE_FOR_AN_EVENT
    if not verified or not telling or answered_at(event) is not None:
        return CallReport(
            ReportStatus.PENDING, call_id=our_ref, our_ref=our_ref, raw=text or "end", reason="ask for it"
        )
    return CallReport(
        ReportStatus.FINAL,
        call_id=our_ref,
        our_ref=our_ref,
        disposition=disposition,
        raw=text,
        ended_at=answers.instant(_first(event, _END)),
    )


_TOO_GRAVE_FOR_AN_EVENT = frozenset({None, Disposition.INVALID_NUMBER, Disposition.ANSWERED})


def _texts(legs: Iterable[Record]) -> str:
    return ", ".join(filter(None, (answers.word(_first(leg, _TEXT)) for leg in legs))) or "no text"


def _first(record: Record, names: Iterable[str]) -> object:
    return next((record[name] for name in names if record.get(name)), None)
