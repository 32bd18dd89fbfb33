"""Why is it not dialling? The facts are gathered in one read; the sentences are made of them by pure functions."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from campaign.domain.clock import CLOCKS_APART
from campaign.domain.durations import format_duration
from campaign.domain.erasure import ErasureKey
from campaign.domain.instants import format_instant
from campaign.domain.line import Line
from campaign.domain.plan import Plan
from campaign.domain.states import CampaignState, LineState, TargetState, UploadState
from campaign.providers.registry import provider_class
from campaign.services import restoring
from campaign.services.campaigns import found
from campaign.services.lines import LineView, line_view
from campaign.services.why_number import NumberFacts, facts_of_number, sentences_of_number
from campaign.storage import dispatch_rows, erasures, line_settings, process_rows, retries, summary
from campaign.storage.engine import Connection, RowMapping, Store

QUIET_AFTER = 15.0
"""Seconds without a sign of any worker after which there is none: a tick is carried out every second."""

MOST_REASONS = 8


@dataclass(frozen=True, slots=True)
class Situation:
    """All that bears on whether a campaign dials. ``targets`` and ``uploads`` are counts by state; ``later`` is
    (reason, how many, earliest due time); ``seen_at`` is the last sign of any worker;
    a lost call is ``findable`` where the line's provider, if it is known here, can be asked for it;
    ``wrong_clocks`` are machines whose workers do not dial, and by how many seconds they are ahead; at
    ``key_missed_at`` a process last refused to, for want of the erasure key."""

    now: float
    name: str
    state: CampaignState
    why: str | None
    plan: Plan
    line: LineView
    configured: bool
    live: int
    unconfirmed: int
    targets: Mapping[str, int] = field(default_factory=dict)
    uploads: Mapping[str, int] = field(default_factory=dict)
    failed: tuple[tuple[str, str | None], ...] = ()
    due: int = 0
    later: tuple[tuple[str | None, int, float], ...] = ()
    seen_at: float | None = None
    locked: str | None = None
    wrong_clocks: tuple[tuple[str, float], ...] = ()
    next_fire_at: float | None = None
    key_missed_at: float | None = None
    findable: bool = True


def why(
    store: Store,
    name: str,
    phone: str | None = None,
    lines: Mapping[str, Line] | None = None,
    key: ErasureKey | None = None,
) -> list[str]:
    """Sentences, the most important first. With an E.164 ``phone`` they are about that number of the campaign.

    ``lines`` are the configured ones; without them nothing is said about configuration. A number that was erased is
    only known with the ``key``. Raises NotFound.
    """
    with store.read() as connection:
        now = store.now(connection)
        campaign = found(connection, name)
        situation = _situation(connection, campaign, lines, now)
        number = facts_of_number(connection, campaign["id"], phone, now, key) if phone is not None else None
    if number is None:
        return list(sentences(situation))
    return _about_number(number, situation)


def _about_number(number: NumberFacts, situation: Situation) -> list[str]:
    told = list(sentences_of_number(number))
    if number.is_due:
        told.extend(_obstacles(situation))
    return told


def sentences(s: Situation) -> Iterator[str]:
    """Obstacles first, then what is under way, then what is left for a person."""
    yield from _obstacles(s)
    yield from _uploads(s)
    if s.state in (CampaignState.RUNNING, CampaignState.PAUSED):
        yield from _work(s)
    held = s.targets.get(TargetState.HELD, 0)
    if held:
        yield f"{_targets(held)} held for a person to decide: `campaign settle {s.name}`"
    if s.unconfirmed:
        yield f"{_count(s.unconfirmed, 'call')} may have been placed; {_what_comes_of_them(s)}"
    if s.next_fire_at is not None and s.state is not CampaignState.CANCELED:
        yield f"the next retry batch fires at {format_instant(s.next_fire_at)} ({_in(s.next_fire_at, s.now)})"


def _what_comes_of_them(s: Situation) -> str:
    if s.findable:
        return "the provider is being asked"
    return f"the provider cannot tell, so the end is unknown: `campaign settle {s.name} --unconfirmed` says when"


def _obstacles(s: Situation) -> Iterator[str]:
    yield from _of_state(s)
    if s.state is CampaignState.RUNNING:
        if s.locked is not None:
            yield s.locked
        yield from _of_line(s)
        yield from _of_workers(s)
        yield from _of_the_erasure_key(s)
        yield from _of_limits(s)


def _of_state(s: Situation) -> Iterator[str]:
    because = f": {s.why}" if s.why else ""
    match s.state:
        case CampaignState.DRAFT:
            yield f"the campaign has not been started; `campaign start {s.name}` does"
        case CampaignState.PAUSED:
            yield f"the campaign is paused{because}; `campaign resume {s.name}` goes on"
        case CampaignState.CANCELED:
            yield f"the campaign was canceled{because}; nothing more will be dialled"
        case CampaignState.COMPLETED:
            yield f"the campaign has completed{because}; more numbers or a retry batch wake it"
        case CampaignState.RUNNING:
            return


def _of_line(s: Situation) -> Iterator[str]:
    line, because = s.line, f": {s.line.why}" if s.line.why else ""
    if not s.configured:
        yield f"line {line.name!r} is not configured here; add it to the lines file, or `campaign set {s.name} line=…`"
    if line.state is LineState.BROKEN:
        yield f"line {line.name!r} is broken{because}; one probe call goes out {_when(line.not_before, s.now)}"
    elif line.state is LineState.PROBING:
        yield f"line {line.name!r} is being probed with one call{because}"
    elif line.not_before is not None:
        yield f"line {line.name!r} is silent until {format_instant(line.not_before)}{because}"
    elif line.pace_factor < 1.0:
        yield f"line {line.name!r} goes at {line.pace_factor:.0%} of its pace and recovers{because}"


def _of_workers(s: Situation) -> Iterator[str]:
    if s.seen_at is None:
        yield "no worker has been seen yet: one just started takes seconds; `campaign up` or `celery -A workers worker`"
    elif s.now - s.seen_at > QUIET_AFTER:
        quiet = format_duration(round(s.now - s.seen_at))
        yield f"no worker has been seen for {quiet}; are worker and beat running, and is the broker up?"
    for machine, ahead in s.wrong_clocks:
        yield f"the workers on {machine} do not dial: its clock is {ahead:+.1f} s off the database's; set it by NTP"


def _of_the_erasure_key(s: Situation) -> Iterator[str]:
    if s.key_missed_at is not None and s.now - s.key_missed_at <= QUIET_AFTER:
        yield (
            "a worker does not dial, since numbers were erased and it has not their key; "
            "give every process the same CAMPAIGN_ERASURE_KEY and start it again"
        )


def _of_limits(s: Situation) -> Iterator[str]:
    most = s.line.max_in_flight
    if most is not None and s.line.live >= most:
        yield f"line {s.line.name!r} has {s.line.live} of {most} calls in flight; the next goes when one ends"
    own = s.plan.pace.max_in_flight
    if own is not None and s.live >= own:
        yield f"the campaign has {s.live} of its {own} calls in flight; the next goes when one ends"


def _uploads(s: Situation) -> Iterator[str]:
    unread = sum(s.uploads.get(state, 0) for state in (UploadState.RECEIVED, UploadState.READING))
    arriving = s.uploads.get(UploadState.RECEIVING, 0)
    if arriving:
        yield f"{_count(arriving, 'upload')} still arriving; its numbers appear when it is whole"
    if unread:
        yield f"{_count(unread, 'upload')} still being read; its numbers appear all at once when that is done"
    for file_name, because in s.failed:
        yield f"the upload {file_name!r} could not be read: {because or 'no reason was kept'}"
    if not s.uploads and not sum(s.targets.values()):
        yield f"the campaign has no numbers yet; `campaign upload {s.name} FILE` adds some"


def _work(s: Situation) -> Iterator[str]:
    calling = s.targets.get(TargetState.CALLING, 0)
    if s.due:
        yield f"{_targets(s.due)} due now{_pace(s)}"
    if calling:
        yield f"{_targets(calling)} being called"
    if s.later and not s.due:
        first = min(due_at for _, _, due_at in s.later)
        yield f"nothing is due until {format_instant(first)} ({_in(first, s.now)})"
    for reason, count, due_at in s.later[:MOST_REASONS]:
        yield f"{_targets(count)} waiting: {reason or 'no reason kept'}; the first from {format_instant(due_at)}"
    if sum(s.targets.values()) and not (s.due or calling or s.later):
        yield "every target is done, skipped or held; the campaign completes within a second or two of worker time"


def _pace(s: Situation) -> str:
    limits = [limit for limit in (s.line.calls_per_second, s.plan.pace.calls_per_second) if limit is not None]
    if s.state is not CampaignState.RUNNING or not limits:
        return ""
    return f", dialled at no more than {min(limits) * s.line.pace_factor:g} calls/s"


def _situation(connection: Connection, campaign: RowMapping, lines: Mapping[str, Line] | None, now: float) -> Situation:
    campaign_id, line = campaign["id"], campaign["line"]
    counts = summary.attempt_counts(connection, campaign_id)
    row, live = line_settings.by_name(connection).get(line), line_settings.live(connection).get(line, 0)
    return Situation(
        now=now,
        name=campaign["name"],
        state=CampaignState(campaign["state"]),
        why=campaign["why"],
        plan=Plan.model_validate(campaign["plan"]),
        line=line_view(line, (lines or {}).get(line), row, now, live),
        configured=lines is None or line in lines,
        live=counts["live"],
        unconfirmed=counts["unconfirmed"],
        targets=_states(summary.target_counts(connection, campaign_id)),
        uploads=summary.uploads_by_state(connection, campaign_id),
        failed=tuple(summary.failed_uploads(connection, campaign_id)),
        due=summary.due_now(connection, campaign_id, now),
        later=tuple(summary.waiting_reasons(connection, campaign_id, now)),
        seen_at=process_rows.last_seen(connection),
        locked=restoring.sentence(dispatch_rows.read(connection)),
        wrong_clocks=tuple(process_rows.wrong_clocks(connection, now - QUIET_AFTER, CLOCKS_APART)),
        next_fire_at=retries.next_fire(connection, campaign_id),
        key_missed_at=erasures.missed_at(connection),
        findable=_findable((lines or {}).get(line)),
    )


def _findable(line: Line | None) -> bool:
    return line is None or provider_class(line.provider).capabilities.find


def _states(counts: list[tuple[str, str | None, int]]) -> dict[str, int]:
    states: dict[str, int] = {}
    for state, _, count in counts:
        states[state] = states.get(state, 0) + count
    return states


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _targets(number: int) -> str:
    return f"{_count(number, 'target')} {'is' if number == 1 else 'are'}"


def _in(at: float, now: float) -> str:
    return f"in {format_duration(max(round(at - now), 0))}"


def _when(at: float | None, now: float) -> str:
    return "at once" if at is None else f"{_in(at, now)}"
