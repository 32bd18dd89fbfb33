"""When to look again: at a placed call for its result, at an unconfirmed one for proof."""

from dataclasses import dataclass

from campaign.domain.line import PollSchedule

GRACE = 300.0
"""Seconds beyond lease, request deadline and list lag before an absence may count: bounds a frozen process."""

GROWTH = 1.5


@dataclass(frozen=True, slots=True)
class LookRules:
    """What a line's configuration and its provider's capabilities say about looking. Seconds throughout.

    ``can_ask`` is False where results only come by webhook; then a placed call is looked at when its time runs out.
    ``can_find`` is False where nothing can prove or disprove a lost answer, ``can_find_by_number`` where that takes the
    reference under which the call was made. ``conflict_proves`` is True where "already queued" can only mean a call of
    ours, if one of ours is in doubt (Pathors: one call in flight per number).
    """

    poll: PollSchedule = PollSchedule()
    can_ask: bool = True
    can_find: bool = True
    can_find_by_number: bool = True
    conflict_proves: bool = False
    request_timeout: float = 20.0
    list_lag: float = 60.0
    looks_after: float = 60.0
    grace: float = GRACE

    @property
    def lease(self) -> float:
        """How long a request may be out before its holder counts as dead."""
        return self.request_timeout + min(15.0, 3.0 + self.grace)

    @property
    def absence_counts_after(self) -> float:
        """Seconds after the send before `not there` is evidence (docs/guarantees.md says why)."""
        return self.lease + self.request_timeout + self.list_lag + self.grace


def first_result_look(rules: LookRules, placed_at: float) -> float:
    if not rules.can_ask:
        return placed_at + rules.poll.give_up_after
    return placed_at + rules.poll.first_after


def next_result_look(rules: LookRules, looks: int, give_up_at: float, now: float) -> float:
    """``every`` at first, growing by half each time up to ``at_most_every``; never past the time it gives up."""
    if not rules.can_ask:
        return give_up_at
    wait = min(rules.poll.every * GROWTH ** min(looks, 40), rules.poll.at_most_every)
    return min(now + wait, give_up_at)


def first_doubt_look(rules: LookRules, now: float, give_up_at: float) -> float:
    return min(now + rules.looks_after, give_up_at) if rules.can_find else give_up_at


def next_doubt_look(rules: LookRules, sent_at: float, looks: int, give_up_at: float, now: float) -> float:
    """Soon while a find is likely; after that at the moment from which an absence counts, then at a steady pace."""
    if not rules.can_find:
        return give_up_at
    counts_from = sent_at + rules.absence_counts_after
    wait = min(rules.looks_after * GROWTH ** min(looks, 40), rules.poll.at_most_every)
    when = now + max(wait, 1.0)
    if now < counts_from < when:
        when = counts_from
    return min(when, give_up_at)


def doubt_gives_up_at(rules: LookRules, now: float) -> float:
    """An unconfirmed attempt is looked for as long as a call may last plus the time a proof of absence takes."""
    return now + rules.poll.give_up_after + rules.absence_counts_after


def conflict_proves_within(rules: LookRules) -> float:
    """Seconds after a lost call was given up within which `already queued` is taken to be about it: as long as a call
    may last, twice over, since a queue may hold it too."""
    return 2 * rules.poll.give_up_after + rules.absence_counts_after
