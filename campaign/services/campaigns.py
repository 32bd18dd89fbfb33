"""Making a campaign and moving it through its life. Every function is one short transaction and safe to repeat."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from campaign.domain.errors import NotFound, NotPossible, UsageFault
from campaign.domain.plan import Plan
from campaign.domain.states import CampaignState
from campaign.services.plan_settings import KEYS, changed_plan, dumped, no_such_key
from campaign.storage import campaigns, events, retries, targets
from campaign.storage.engine import Connection, RowMapping, Store

_NAME = re.compile(r"[^\W_][\w.@ -]{0,98}[^\W_]|[^\W_]")
_BY_A_PERSON = "by a person"
_GATED_BY_HOURS = ("outside calling hours", "no common calling window", "time zone unknown")
_GATED_BY_CAPS = ("already called",)

DRAFT, RUNNING, PAUSED = CampaignState.DRAFT, CampaignState.RUNNING, CampaignState.PAUSED
COMPLETED, CANCELED = CampaignState.COMPLETED, CampaignState.CANCELED


@dataclass(frozen=True, slots=True)
class CampaignView:
    """A campaign as its row says it. Times are epoch seconds; ``why`` says why it is paused or how it ended."""

    id: int
    name: str
    state: CampaignState
    why: str | None
    line: str
    plan: Plan
    region: str | None
    created_at: float
    started_at: float | None
    ended_at: float | None


def create(store: Store, name: str, line: str, plan: Plan, region: str | None = None) -> CampaignView:
    """A draft. Raises UsageFault for a name that is taken or cannot be typed again."""
    if not _NAME.fullmatch(name):
        raise UsageFault(
            f"campaign name {name!r}: use 1 to 100 letters, digits, spaces and . _ - @, beginning and ending with a "
            "letter or digit"
        )
    with store.write() as connection:
        now = store.now(connection)
        values = {"name": name, "line": line, "plan": dumped(plan), "region": region, "created_at": now}
        campaign_id = campaigns.add(connection, {**values, "state": DRAFT})
        if campaign_id is None:
            raise UsageFault(f"a campaign {name!r} exists already; choose another name, or upload into that one")
        events.record(connection, now, "created", campaign_id=campaign_id, line=line)
        return _view(found(connection, name))


def get(store: Store, name: str) -> CampaignView:
    """Raises NotFound."""
    with store.read() as connection:
        return _view(found(connection, name))


def list_campaigns(store: Store) -> list[CampaignView]:
    """The newest first."""
    with store.read() as connection:
        return [_view(row) for row in campaigns.every(connection)]


def start(store: Store, name: str) -> CampaignView:
    """Draft to running; a running campaign is left as it is. It may start before its first upload."""
    remedy = {
        PAUSED: "it is paused; `campaign resume` goes on",
        COMPLETED: "it has completed; upload more numbers or plan a retry, and it goes on by itself",
        CANCELED: "it was canceled for good; create a new one",
    }
    with store.write() as connection:
        now = store.now(connection)
        _move(connection, now, name, "started", {DRAFT: RUNNING}, remedy, started_at=now, why=None)
        return _view(found(connection, name))


def pause(store: Store, name: str, why: str = _BY_A_PERSON) -> CampaignView:
    """Running to paused: once this returns nothing more is claimed; what is in the air ends by itself."""
    remedy = {
        DRAFT: "it has not been started",
        COMPLETED: "it has completed; there is nothing to pause",
        CANCELED: "it was canceled for good",
    }
    with store.write() as connection:
        _move(connection, store.now(connection), name, "paused", {RUNNING: PAUSED}, remedy, why=why)
        return _view(found(connection, name))


def resume(store: Store, name: str) -> CampaignView:
    """Paused to running. Targets that became due meanwhile are due at once, at the pace of the line."""
    remedy = {
        DRAFT: "it has not been started; `campaign start` does",
        COMPLETED: "it has completed; upload more numbers or plan a retry, and it goes on by itself",
        CANCELED: "it was canceled for good; create a new one",
    }
    with store.write() as connection:
        _move(connection, store.now(connection), name, "resumed", {PAUSED: RUNNING}, remedy, why=None)
        return _view(found(connection, name))


def cancel(store: Store, name: str, why: str = _BY_A_PERSON) -> CampaignView:
    """For good: waiting targets are skipped, retry batches end, live calls run out, held targets stay with a person."""
    every_state = dict.fromkeys((DRAFT, RUNNING, PAUSED, COMPLETED), CANCELED)
    with store.write() as connection:
        now = store.now(connection)
        campaign = _move(connection, now, name, "canceled", every_state, {}, why=why, ended_at=now)
        targets.skip_waiting(connection, campaign["id"], targets.CANCELED, now)
        retries.end_all(connection, campaign["id"])
        return _view(found(connection, name))


def set_values(
    store: Store, name: str, values: Mapping[str, str], lines: Collection[str] | None = None
) -> CampaignView:
    """``campaign set``: keys are ``line`` and :data:`plan_settings.KEYS`. All or nothing.

    ``lines`` are the configured ones. A retry that is already due keeps its time; targets that waited for calling
    hours or for a cap are asked again at once. Live calls stay with the line they were placed on.
    """
    wanted = dict(values)
    line = wanted.pop("line", None)
    if line is not None and lines is not None and line not in lines:
        raise UsageFault(f"line={line!r}: no such line; configured are {', '.join(sorted(lines)) or 'none'}")
    for key in wanted:
        if key not in KEYS:
            raise no_such_key(key, more=("line",))
    with store.write() as connection:
        now = store.now(connection)
        campaign = found(connection, name, lock=True)
        _refuse_canceled(campaign)
        plan = Plan.model_validate(campaign["plan"])
        changed = changed_plan(plan, wanted)
        campaigns.change(connection, campaign["id"], {"plan": dumped(changed), "line": line or campaign["line"]})
        reasons = _reasons_to_ask_again(plan, changed)
        if reasons:
            targets.ask_gates_again(connection, campaign["id"], reasons, now)
        events.record(connection, now, "set", campaign_id=campaign["id"], detail=dict(values))
        return _view(found(connection, name))


def complete_finished(store: Store) -> list[str]:
    """Complete running campaigns with nothing left; the names of those that this very call completed.

    Held targets do not keep a campaign running (``why`` counts them), nor does a planned retry batch: its fire wakes
    the campaign. A completed campaign that has work after all runs again, and targets that came to wait in a canceled
    one are skipped. Any number of workers may call this at once.
    """
    with store.read() as connection:
        candidates, forgotten = campaigns.finished(connection), campaigns.completed_with_work(connection)
        left_over = targets.any_left_in_canceled(connection)
    if left_over:
        with store.write() as connection:
            targets.skip_left_in_canceled(connection, store.now(connection))
    for campaign_id in forgotten:
        _wake_forgotten(store, campaign_id)
    return [name for campaign_id in candidates if (name := _complete(store, campaign_id))]


def _complete(store: Store, campaign_id: int) -> str | None:
    with store.write() as connection:
        if not campaigns.finished(connection, only=[campaign_id]):
            return None
        now = store.now(connection)
        held = campaigns.held_in(connection, campaign_id)
        if not campaigns.move(connection, campaign_id, [RUNNING], COMPLETED, ended_at=now, why=held_in_words(held)):
            return None
        events.record(connection, now, "completed", campaign_id=campaign_id, detail={"held": held})
        row = campaigns.lock(connection, campaign_id)
        return str(row["name"]) if row else None


def held_in_words(held: int) -> str | None:
    """What a completed campaign still waits for."""
    return f"{held} held, a person must decide: `campaign settle`" if held else None


def _wake_forgotten(store: Store, campaign_id: int) -> None:
    with store.write() as connection:
        if campaigns.wake(connection, campaign_id):
            events.record(connection, store.now(connection), "woken", campaign_id=campaign_id)


def found(connection: Connection, name: str, *, lock: bool = False) -> RowMapping:
    """The campaign's row. Raises NotFound with the nearest names."""
    row = campaigns.find(connection, name, lock=lock)
    if row is None:
        known = campaigns.names(connection)[:10]
        remedy = f"there are {', '.join(known)}" if known else "there is none yet; `campaign create` makes one"
        raise NotFound(f"no campaign {name!r}; {remedy}")
    return row


def _move(
    connection: Connection,
    now: float,
    name: str,
    kind: str,
    moves: Mapping[CampaignState, CampaignState],
    remedy: Mapping[CampaignState, str],
    **values: object,
) -> RowMapping:
    """The one guarded step of a person's word; said twice, it is done once."""
    campaign = found(connection, name, lock=True)
    state = CampaignState(campaign["state"])
    if state in moves:
        campaigns.move(connection, campaign["id"], [state], moves[state], **values)
        events.record(connection, now, kind, campaign_id=campaign["id"], detail=_told(values))
    elif state not in moves.values():
        raise NotPossible(f"campaign {name!r} cannot be {kind}: {remedy[state]}")
    return campaign


def _told(values: Mapping[str, object]) -> dict[str, object]:
    return {"why": values["why"]} if values.get("why") else {}


def _refuse_canceled(campaign: RowMapping) -> None:
    if campaign["state"] == CANCELED:
        raise NotPossible(f"campaign {campaign['name']!r} was canceled for good; create a new one")


def _reasons_to_ask_again(before: Plan, after: Plan) -> tuple[str, ...]:
    hours = _GATED_BY_HOURS if before.hours != after.hours else ()
    return hours + (_GATED_BY_CAPS if before.caps != after.caps else ())


def _view(row: RowMapping) -> CampaignView:
    values = {name: row[name] for name in CampaignView.__slots__}
    values["state"] = CampaignState(row["state"])
    values["plan"] = Plan.model_validate(row["plan"])
    return CampaignView(**values)
