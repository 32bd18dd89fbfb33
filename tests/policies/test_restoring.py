"""Who remembers more than the database, and what must be known before a number rings after a restore."""

from dataclasses import replace

import pytest

from campaign.domain.calls import Finding, FindingKind, RememberedCall
from campaign.domain.dispositions import Disposition
from campaign.domain.line import PollSchedule
from campaign.domain.restores import Standing, Witness
from campaign.domain.states import AttemptState
from campaign.policies.looking import LookRules
from campaign.policies.restoring import as_of_the_last, is_behind, look_times, may_be_claimed, newest

HERE = Standing("a" * 32, reconciled_at=100.0)
SEEN = Witness("a" * 32, 100.0, "b" * 32, 150.0)
RULES = LookRules(poll=PollSchedule(give_up_after=1000.0), list_lag=5.0, looks_after=30.0)


@pytest.mark.parametrize(("standing", "witness", "known", "behind"), [
    (HERE, SEEN, True, False),
    (HERE, SEEN, False, True),
    # another database than the one that was dialled from has lost nothing
    (HERE, replace(SEEN, database_id="c" * 32), False, False),
    # what was remembered before the last restore was dealt with is forgiven
    (HERE, replace(SEEN, reconciled_at=0.0), False, False),
    # a backup from before that one knows less than whoever was there, whatever it holds
    (replace(HERE, reconciled_at=0.0), SEEN, True, True),
])  # fmt: skip
def test_a_database_is_behind_whoever_remembers_a_commit_that_it_does_not_know(
    standing: Standing, witness: Witness, known: bool, behind: bool
) -> None:
    assert is_behind(standing, witness, known) is behind


def test_the_newest_witness_has_seen_the_latest_restore_first_and_the_latest_call_then() -> None:
    later, after_a_restore = replace(SEEN, sent_at=160.0), replace(SEEN, reconciled_at=155.0, sent_at=140.0)
    assert newest(later, None, SEEN) == later
    assert newest(later, after_a_restore) == after_a_restore
    assert newest(None) is None


@pytest.mark.parametrize("state", AttemptState)
@pytest.mark.parametrize("disposition", [None, *Disposition])
def test_only_a_proof_or_a_signature_frees_a_target(state: AttemptState, disposition: Disposition | None) -> None:
    # Whatever its latest attempt was, if it did not look for lost calls it says nothing about them
    assert not may_be_claimed(state, disposition, None)
    # If it did: a proof that there is none, or an unknown end that a plan or a person let ring again
    freed = state is AttemptState.NOT_PLACED or disposition is Disposition.UNKNOWN
    assert may_be_claimed(state, disposition, 99.0) is freed


def test_an_absence_is_worth_nothing_before_the_last_call_that_may_be_lost_could_be_seen() -> None:
    # Given that calls between 1,000 and 5,000 are lost
    call = RememberedCall(1, "d" * 32, "+12025550100", None, 1000.0, lost_until=5000.0)
    # When somebody looks so long after the last of them that an absence begins to count
    just = Finding(FindingKind.ABSENT, as_of=5000.0 + RULES.absence_counts_after)
    # Then it is as if the first were asked for that long after itself, and not a second sooner
    assert as_of_the_last(just, call).as_of == 1000.0 + RULES.absence_counts_after
    # And a call that is not lost is asked for as ever
    assert as_of_the_last(just, replace(call, lost_until=None)) == just


def test_calls_that_cannot_be_found_by_number_are_waited_for_as_long_as_they_may_last() -> None:
    blind = replace(RULES, can_find_by_number=False)
    ends = 5000.0 + 1000.0 + blind.absence_counts_after
    assert look_times(blind, 5000.0, now=5100.0) == (ends, ends)
    assert look_times(blind, 5000.0, now=99_000.0) == (99_000.0, 99_000.0)
    # Where they can, the search begins at once, however long ago they were made
    assert look_times(RULES, 5000.0, now=99_000.0) == (99_030.0, 99_000.0 + 1000.0 + RULES.absence_counts_after)
