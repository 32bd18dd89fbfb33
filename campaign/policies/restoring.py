"""Has the database lost commits, and what may be done about calls that it does not remember? Pure."""

from dataclasses import replace

from campaign.domain.calls import Finding, RememberedCall
from campaign.domain.dispositions import Disposition
from campaign.domain.restores import Standing, Witness
from campaign.domain.states import AttemptState
from campaign.policies import looking
from campaign.policies.looking import LookRules


def is_behind(standing: Standing, witness: Witness, known: bool) -> bool:
    """Whether ``witness`` remembers a commit that the database has lost. ``known`` says that the witness's attempt is
    there and is more than claimed.

    Another database is not one that lost something. A witness from before a restore that was dealt with is forgiven;
    one from after a dealing that this database does not remember has seen more than it.
    """
    if witness.database_id != standing.database_id:
        return False
    if witness.reconciled_at != standing.reconciled_at:
        return witness.reconciled_at > standing.reconciled_at
    return not known


def newest(*witnesses: Witness | None) -> Witness | None:
    """The one that has seen most."""
    told = [witness for witness in witnesses if witness is not None]
    return max(told, key=lambda witness: (witness.reconciled_at, witness.sent_at), default=None)


def may_be_claimed(state: AttemptState, disposition: Disposition | None, lost_until: float | None) -> bool:
    """Whether a target that may have lost calls may ring, from its latest attempt: only after a look for lost calls
    that proved that there is none left, or that ended unknown and whose plan, or a person, signed for a second ring.

    A look that found one is no proof that there was only one.
    """
    if lost_until is None:
        return False
    return state is AttemptState.NOT_PLACED or disposition is Disposition.UNKNOWN


def look_times(rules: LookRules, lost_until: float, now: float) -> tuple[float, float]:
    """(first look, when it is given up) for calls that may have left until ``lost_until``.

    Where nothing can be found by number alone there is nothing to look for: it is given up when the last of them can
    no longer be going on.
    """
    if not rules.can_find_by_number:
        give_up_at = max(now, looking.doubt_gives_up_at(rules, lost_until))
        return give_up_at, give_up_at
    give_up_at = looking.doubt_gives_up_at(rules, now)
    return looking.first_doubt_look(rules, now, give_up_at), give_up_at


def as_of_the_last(finding: Finding, call: RememberedCall) -> Finding:
    """A look for any call between ``sent_at`` and ``lost_until`` is worth what a look for the first of them would have
    been worth that much earlier: an absence counts from the last moment at which one may have left."""
    if call.lost_until is None:
        return finding
    return replace(finding, as_of=finding.as_of - max(call.lost_until - call.sent_at, 0.0))
