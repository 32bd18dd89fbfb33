"""Retry batches: "at this time, try again every target that ended so". Planned by a person, fired by any worker."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from campaign.domain.dispositions import NEVER_RETRIED, Disposition
from campaign.domain.errors import NotFound, NotPossible, UsageFault
from campaign.domain.failpoints import reach
from campaign.domain.instants import format_instant, parse_instant, zone_named
from campaign.domain.states import CampaignState
from campaign.policies import cron
from campaign.services.campaigns import found
from campaign.storage import campaigns, events, retries
from campaign.storage.engine import Connection, RowMapping, Store

JUST_NOW = 60.0
"""Seconds in the past that still mean now: "10:00", typed at 10:00:20."""


@dataclass(frozen=True, slots=True)
class Fire:
    """What one fire did. ``targets`` wait again; ``passed_over`` ended so too, but are live or held."""

    batch_id: int
    campaign: str
    due_at: float
    fired_at: float
    targets: int
    passed_over: int


@dataclass(frozen=True, slots=True)
class Batch:
    """``every`` is its cron text, read in ``zone``; ``next_fire_at`` None: nothing more to fire."""

    id: int
    campaign: str
    dispositions: tuple[Disposition, ...]
    every: str | None
    zone: str
    next_fire_at: float | None
    made_at: float
    fires: tuple[Fire, ...] = ()


def plan_batch(
    store: Store,
    name: str,
    dispositions: Sequence[str],
    at: str | float | None = None,
    every: str | None = None,
    zone: str = "UTC",
) -> Batch:
    """Plan a batch at one time, on a schedule, or (with neither) for the next tick.

    ``at`` is epoch seconds or text as :func:`parse_instant` reads it in ``zone``. A time more than a minute ago is
    refused: a slip in the date is likelier than the wish. Raises UsageFault, NotFound, NotPossible.
    """
    words = _words(dispositions)
    with store.write() as connection:
        now = store.now(connection)
        campaign = found(connection, name, lock=True)
        fire_at = _possible(campaign, at, every, zone, now)
        values = {"dispositions": list(words), "cron": every, "zone": zone, "next_fire_at": fire_at, "made_at": now}
        batch_id = retries.add(connection, {**values, "campaign_id": campaign["id"]})
        detail = {"batch": batch_id, "dispositions": list(words), "every": every, "next": format_instant(fire_at)}
        events.record(connection, now, "retry_planned", campaign_id=campaign["id"], detail=detail)
        return Batch(batch_id, name, words, every, zone, fire_at, now)


def check_batch(
    store: Store,
    name: str,
    dispositions: Sequence[str],
    at: str | float | None = None,
    every: str | None = None,
    zone: str = "UTC",
) -> None:
    """Raises what :func:`plan_batch` would, and plans nothing: a person is not asked about what cannot be."""
    _words(dispositions)
    with store.read() as connection:
        _possible(found(connection, name), at, every, zone, store.now(connection))


def end_batch(store: Store, name: str, batch_id: int) -> None:
    """No more fires. Raises NotFound where it has none to come."""
    with store.write() as connection:
        campaign = found(connection, name)
        if not retries.end(connection, campaign["id"], batch_id):
            raise NotFound(
                f"campaign {name!r} has no retry batch {batch_id} with a fire to come; see `campaign retries`"
            )
        now = store.now(connection)
        events.record(connection, now, "retry_ended", campaign_id=campaign["id"], detail={"batch": batch_id})


def list_batches(store: Store, name: str) -> list[Batch]:
    """Every batch of the campaign with what each of its fires did, the oldest first."""
    with store.read() as connection:
        campaign = found(connection, name)
        fires = [_fire(row, name) for row in retries.fires_of(connection, campaign["id"])]
        return [_batch(row, name, fires) for row in retries.of_campaign(connection, campaign["id"])]


def fire_due(store: Store) -> list[Fire]:
    """Fire what is due; the fires of this very call. Any number of beats may call it: each fire happens once.

    A schedule that was missed while everything was down fires once, late, and then at its next time to come. A
    completed campaign wakes; in a paused one the targets wait until it is resumed.
    """
    with store.read() as connection:
        due = retries.due(connection, store.now(connection))
    return [fire for batch in due if (fire := _fire_one(store, batch))]


def _fire_one(store: Store, batch: RowMapping) -> Fire | None:
    with store.write() as connection:
        campaign = campaigns.lock(connection, batch["campaign_id"])
        now, due_at = store.now(connection), batch["next_fire_at"]
        if campaign is None or not retries.advance(connection, batch["id"], due_at, _following(batch, now)):
            return None
        row = {"batch_id": batch["id"], "due_at": due_at, "fired_at": now, "targets": 0, "passed_over": 0}
        if campaign["state"] == CampaignState.CANCELED or not retries.record_fire(connection, row):
            return None
        fire = _begin_round(connection, batch, now)
        reach("retry.before_commit")
    reach("retry.after_commit")
    return fire


def _begin_round(connection: Connection, batch: RowMapping, now: float) -> Fire:
    campaign_id, words = batch["campaign_id"], [Disposition(word) for word in batch["dispositions"]]
    passed_over = retries.count_passed_over(connection, campaign_id, words)
    count = retries.begin_round(connection, campaign_id, words, f"retry batch {batch['id']}", now)
    retries.set_counts(connection, batch["id"], batch["next_fire_at"], count, passed_over)
    if count:
        campaigns.wake(connection, campaign_id)
    detail = {"batch": batch["id"], "targets": count, "passed_over": passed_over}
    events.record(connection, now, "retry_fired", campaign_id=campaign_id, detail=detail)
    return Fire(batch["id"], batch["campaign"], batch["next_fire_at"], now, count, passed_over)


def _following(batch: RowMapping, now: float) -> float | None:
    if batch["cron"] is None:
        return None
    return cron.next_fire(cron.parse(batch["cron"]), zone_named(batch["zone"]), now)


def _possible(campaign: RowMapping, at: str | float | None, every: str | None, zone: str, now: float) -> float:
    """The first fire. Raises UsageFault, NotPossible."""
    if at is not None and every is not None:
        raise UsageFault("--at and --every exclude each other; give one")
    if campaign["state"] == CampaignState.CANCELED:
        raise NotPossible(f"campaign {campaign['name']!r} was canceled for good; nothing in it can be tried again")
    return _first_fire(at, every, zone, now)


def _first_fire(at: str | float | None, every: str | None, zone: str, now: float) -> float:
    try:
        there = zone_named(zone)
        if every is not None:
            fire_at = cron.next_fire(cron.parse(every), there, now)
        else:
            fire_at = parse_instant(at, zone) if isinstance(at, str) else now if at is None else at
    except ValueError as error:
        raise UsageFault(str(error)) from None
    if fire_at is None:
        raise UsageFault(f"cron {every!r} names a day that never comes; nothing was planned")
    if fire_at < now - JUST_NOW:
        raise UsageFault(
            f"{format_instant(fire_at)} has passed; give a time to come, or leave it out to try again at once"
        )
    return fire_at


def _words(dispositions: Collection[str]) -> tuple[Disposition, ...]:
    possible = [word for word in Disposition if word not in NEVER_RETRIED]
    for word in dispositions:
        if word in NEVER_RETRIED:
            raise UsageFault(f"{word} is final and is never tried again; put such numbers into a new campaign")
        if word not in possible:
            raise UsageFault(f"{word!r} is not a disposition that can be tried again; these are {', '.join(possible)}")
    if not dispositions:
        raise UsageFault(
            f"say which dispositions to try again, with --disposition; these can be: {', '.join(possible)}"
        )
    return tuple(dict.fromkeys(Disposition(word) for word in dispositions))


def _batch(row: RowMapping, campaign: str, fires: Sequence[Fire]) -> Batch:
    words = tuple(Disposition(word) for word in row["dispositions"])
    mine = tuple(fire for fire in fires if fire.batch_id == row["id"])
    return Batch(row["id"], campaign, words, row["cron"], row["zone"], row["next_fire_at"], row["made_at"], mine)


def _fire(row: RowMapping, campaign: str) -> Fire:
    return Fire(row["batch_id"], campaign, row["due_at"], row["fired_at"], row["targets"], row["passed_over"])
