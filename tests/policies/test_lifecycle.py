"""The state machine of an attempt, over every state and event there is, and over whole lives made of them."""

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from campaign.domain.calls import CallReport, Finding, FindingKind, ReportStatus
from campaign.domain.dispositions import Disposition
from campaign.domain.plan import OnUnknown, Plan
from campaign.domain.rows import Attempt, Target
from campaign.domain.states import LIVE_ATTEMPT_STATES, AttemptState, TargetState
from campaign.domain.verdicts import Verdict, VerdictKind, conflict, placed, throttled, unconfirmed
from campaign.policies.doubts import PROOFS_NEEDED, proves_an_earlier_call
from campaign.policies.events import (
    Answered,
    Event,
    GivenBack,
    LeaseRanOut,
    Looked,
    ProvedByConflict,
    Reported,
    Step,
    TimeRanOut,
)
from campaign.policies.lifecycle import decide
from campaign.policies.line_health import Signal, SignalKind
from campaign.policies.looking import LookRules
from tests.policies.rows import FINAL, LEASED, LOOKED_AT, NOW, events, pairs, plans, rules

PLAN = Plan()
RULES = LookRules()
SENT = NOW - 10.0
UNCOUNTED = [
    VerdictKind.CONFLICT,
    VerdictKind.THROTTLED,
    VerdictKind.LINE_NOT_READY,
    VerdictKind.NOT_SENT,
    VerdictKind.PAUSE,
]


def live(state: AttemptState, **values: object) -> tuple[Attempt, Target]:
    """A live attempt with token 1, sent ten seconds ago, and the target that is calling with it."""
    attempt = Attempt(1, 7, 1, state, SENT - 1.0)
    if state in LEASED:
        attempt = attempt._replace(lease_until=NOW + 25.0)
    if state in LOOKED_AT:
        attempt = attempt._replace(next_look_at=NOW, give_up_at=NOW + 7000.0)
    if state is not AttemptState.CLAIMED:
        attempt = attempt._replace(sent_at=SENT)
    attempt = attempt._replace(**values)  # type: ignore[arg-type]
    return attempt, Target(7, TargetState.CALLING, attempt_id=1)


def ended_unknown(**values: object) -> tuple[Attempt, Target]:
    attempt = Attempt(1, 7, 3, AttemptState.ENDED, SENT, sent_at=SENT, counted=True, ended_at=NOW - 1.0,
                      disposition=Disposition.UNKNOWN)  # fmt: skip
    target = Target(7, TargetState.HELD, attempts=1, tally={Disposition.UNKNOWN: 1}, disposition=Disposition.UNKNOWN,
                    last_attempt_at=SENT, reason="who knows")  # fmt: skip
    return attempt, target._replace(**values)  # type: ignore[arg-type]


def final(disposition: Disposition, **values: object) -> Reported:
    return Reported(CallReport(ReportStatus.FINAL, disposition=disposition, **values))  # type: ignore[arg-type]


def step(pair: tuple[Attempt, Target], event: Event, plan: Plan = PLAN, now: float = NOW) -> Step:
    return decide(*pair, event, plan, RULES, now)


def after(pair: tuple[Attempt, Target], event: Event, plan: Plan = PLAN, now: float = NOW) -> tuple[Attempt, Target]:
    done = step(pair, event, plan, now=now)
    return done.attempt or pair[0], done.target or pair[1]


# --- over everything there is


@settings(max_examples=250)
@given(pair=pairs(), event=events, plan=plans, look=rules)
def test_every_state_meets_every_event_and_both_rows_stay_whole(
    pair: tuple[Attempt, Target], event: Event, plan: Plan, look: LookRules
) -> None:
    # Given any pair of rows, When anything happens
    result = decide(*pair, event, plan, look, NOW)
    # Then it raises nothing, and what is written can be lived with
    attempt, target = result.attempt or pair[0], result.target or pair[1]
    assert (attempt.id, attempt.target_id, target.id) == (1, 7, 7)
    assert attempt.token >= pair[0].token
    _is_whole(attempt)
    _waits_for_something(target)
    assert target.attempts in (pair[1].attempts, pair[1].attempts + 1)
    assert (target.attempts > pair[1].attempts) == (attempt.counted and not pair[0].counted)


def _is_whole(attempt: Attempt) -> None:
    if attempt.state in LEASED:
        assert attempt.lease_until is not None
    if attempt.state in LOOKED_AT:
        assert attempt.next_look_at is not None
        assert attempt.give_up_at is not None
        assert attempt.lease_until is None
    if attempt.state is AttemptState.ENDED:
        assert attempt.disposition is not None
        assert attempt.counted
    if attempt.state in FINAL:
        assert attempt.ended_at is not None
        assert attempt.next_look_at is None


def _waits_for_something(target: Target) -> None:
    if target.state is TargetState.WAITING:
        assert target.due_at is not None
    else:
        assert target.due_at is None
    assert (target.attempt_id is not None) == (target.state is TargetState.CALLING)
    if target.state is TargetState.DONE:
        assert target.disposition is not None


@settings(max_examples=150)
@given(pair=pairs(LIVE_ATTEMPT_STATES), event=events, plan=plans, look=rules)
def test_a_target_calls_exactly_while_its_attempt_lives(
    pair: tuple[Attempt, Target], event: Event, plan: Plan, look: LookRules
) -> None:
    result = decide(*pair, event, plan, look, NOW)
    attempt, target = result.attempt or pair[0], result.target or pair[1]
    assert (target.state is TargetState.CALLING) == (attempt.state in LIVE_ATTEMPT_STATES)
    if attempt.state in FINAL:
        assert attempt.token > pair[0].token


@settings(max_examples=150)
@given(pair=pairs(FINAL), event=events, plan=plans, look=rules)
def test_final_is_final_but_for_the_truth(
    pair: tuple[Attempt, Target], event: Event, plan: Plan, look: LookRules
) -> None:
    # Given an attempt that is over
    before = pair[0]
    # When anything else comes
    attempt = decide(*pair, event, plan, look, NOW).attempt or before
    # Then its end stays, unless nobody knew it or it was thought never to have been placed
    open_end = before.disposition in (None, Disposition.UNKNOWN)
    if not open_end:
        assert (attempt.state, attempt.disposition) == (before.state, before.disposition)
    if attempt.disposition is not before.disposition and attempt.disposition is not None:
        assert isinstance(event, Reported)
        assert event.report.status is ReportStatus.FINAL
    if attempt.state in LIVE_ATTEMPT_STATES:
        assert isinstance(event, ProvedByConflict)
        assert before.disposition is Disposition.UNKNOWN


@settings(max_examples=150)
@given(pair=pairs(frozenset({AttemptState.SENDING, AttemptState.UNCONFIRMED, AttemptState.PLACED})), event=events,
       plan=plans, look=rules)  # fmt: skip
def test_only_a_word_from_the_holder_frees_a_number_that_may_be_ringing(
    pair: tuple[Attempt, Target], event: Event, plan: Plan, look: LookRules
) -> None:
    result = decide(*pair, event, plan, look, NOW)
    attempt = result.attempt or pair[0]
    freed = attempt.state in FINAL and attempt.disposition is None
    if freed:
        assert isinstance(event, (Answered, GivenBack, Looked))
        assert event.token == pair[0].token
    if freed and pair[0].state is AttemptState.UNCONFIRMED:
        assert isinstance(event, Looked)
        assert event.finding.kind is FindingKind.ABSENT


@settings(max_examples=60)
@given(pair=pairs(frozenset({AttemptState.CLAIMED})), story=st.lists(events, max_size=25), plan=plans, look=rules)
def test_a_whole_life_in_any_order_counts_at_most_one_attempt(
    pair: tuple[Attempt, Target], story: list[Event], plan: Plan, look: LookRules
) -> None:
    attempt, target = pair
    before, now = target.attempts, NOW
    for event in story:
        now += 60.0
        result = decide(attempt, target, event, plan, look, now)
        attempt, target = result.attempt or attempt, result.target or target
        _is_whole(attempt)
        _waits_for_something(target)
    assert target.attempts - before == attempt.counted


# --- the holder's answer


@pytest.mark.parametrize("kind", VerdictKind)
def test_the_same_answer_twice_is_the_answer_once(kind: VerdictKind) -> None:
    # Given an answer that was recorded, and whose COMMIT was not heard of
    event = Answered(1, Verdict(kind, call_id="call-1"))
    once = after(live(AttemptState.SENDING), event)
    # When it is recorded again
    twice = step(once, event)
    # Then nothing changes
    assert twice.attempt in (None, once[0])
    assert twice.target is None or twice.target == once[1]
    assert twice.signal is None


def test_a_late_placed_answer_takes_a_doubt_back() -> None:
    doubt = after(live(AttemptState.SENDING, lease_until=NOW - 1.0), LeaseRanOut())
    assert doubt[0].state is AttemptState.UNCONFIRMED
    attempt, target = after(doubt, Answered(1, placed("call-1")))
    assert (attempt.state, attempt.call_id, target.attempts) == (AttemptState.PLACED, "call-1", 1)


@pytest.mark.parametrize("kind", sorted(set(VerdictKind) - {VerdictKind.PLACED}))
def test_no_other_late_answer_does(kind: VerdictKind) -> None:
    doubt = after(live(AttemptState.SENDING, lease_until=NOW - 1.0), LeaseRanOut())
    assert after(doubt, Answered(1, Verdict(kind)))[0].state is AttemptState.UNCONFIRMED


@pytest.mark.parametrize("state", sorted(set(AttemptState) - {AttemptState.SENDING}))
def test_an_answer_for_a_row_in_another_hand_frees_nothing(state: AttemptState) -> None:
    over = Attempt(1, 7, 1, state, SENT, ended_at=NOW), Target(7, TargetState.WAITING, due_at=NOW)
    pair = live(state) if state in LIVE_ATTEMPT_STATES else over
    result = step(pair, Answered(1, throttled("slow", 5.0)))
    assert result.attempt is None
    assert result.target is None


@pytest.mark.parametrize("kind", UNCOUNTED)
def test_what_never_rang_costs_the_target_nothing(kind: VerdictKind) -> None:
    attempt, target = after(live(AttemptState.SENDING), Answered(1, Verdict(kind)))
    assert (attempt.counted, target.attempts, target.state) == (False, 0, TargetState.WAITING)


def test_conflicts_without_end_are_held_for_a_person() -> None:
    pair, plan = live(AttemptState.SENDING), Plan(max_conflicts=3)
    target = pair[1]
    for _ in range(3):
        _, target = after(pair, Answered(1, conflict("already queued")), plan)
        pair = pair[0]._replace(), target._replace(state=TargetState.CALLING, attempt_id=1, due_at=None)
    assert target.state is TargetState.HELD
    assert target.attempts == 0


def test_a_refusal_waits_as_long_as_the_provider_says_but_an_hour_at_most() -> None:
    for said, waits in ((5.0, 5.0), (None, 1.0), (1e9, 3600.0)):
        _, target = after(live(AttemptState.SENDING), Answered(1, throttled("slow", said)))
        assert target.due_at == NOW + waits


# --- leases and hands


@pytest.mark.parametrize(("state", "becomes"), [
    (AttemptState.CLAIMED, AttemptState.RELEASED), (AttemptState.SENDING, AttemptState.UNCONFIRMED)])  # fmt: skip
def test_a_lease_that_ran_out(state: AttemptState, becomes: AttemptState) -> None:
    pair = live(state, lease_until=NOW)
    attempt, target = after(pair, LeaseRanOut())
    assert (attempt.state, attempt.token, target.rescues) == (becomes, 2, 1)


@pytest.mark.parametrize("state", sorted(LIVE_ATTEMPT_STATES))
def test_a_lease_that_has_not_run_out_is_left_alone(state: AttemptState) -> None:
    assert step(live(state), LeaseRanOut()) == Step()


def test_three_workers_that_die_with_one_target_are_enough() -> None:
    pair = live(AttemptState.CLAIMED, lease_until=NOW)
    target = pair[1]
    for _ in range(3):
        _, target = after(pair, LeaseRanOut())
        pair = pair[0], target._replace(state=TargetState.CALLING, attempt_id=1, due_at=None)
    assert target.state is TargetState.HELD
    assert "died" in (target.reason or "")


@pytest.mark.parametrize("skip", [True, False])
def test_a_call_given_back_is_free_at_once_or_skipped(skip: bool) -> None:
    attempt, target = after(live(AttemptState.SENDING), GivenBack(1, "listed", skip=skip))
    assert attempt.state is AttemptState.RELEASED
    assert target.state is (TargetState.SKIPPED if skip else TargetState.WAITING)


@pytest.mark.parametrize("skip", [True, False])
def test_a_probe_given_back_tells_its_line_so(skip: bool) -> None:
    assert step(live(AttemptState.SENDING), GivenBack(1, "listed", skip=skip)).signal is None
    told = step(live(AttemptState.SENDING, probe=True), GivenBack(1, "listed", skip=skip))
    assert told.signal == Signal(SignalKind.UNTRIED)


def test_a_probe_whose_holder_died_tells_its_line_so_unless_it_may_have_left() -> None:
    died = {state: step(live(state, probe=True, lease_until=NOW), LeaseRanOut()).signal for state in LEASED}
    assert died == {AttemptState.CLAIMED: Signal(SignalKind.UNTRIED), AttemptState.SENDING: None}


def test_a_call_given_back_by_a_stale_hand_is_not_free() -> None:
    doubt = after(live(AttemptState.SENDING, lease_until=NOW), LeaseRanOut())
    assert step(doubt, GivenBack(1, "held up")) == Step(note="late_give_back")


# --- settle


def _looked(pair: tuple[Attempt, Target], kind: FindingKind, as_of: float, **values: object) -> Looked:
    return Looked(pair[0].token, Finding(kind, as_of, **values))  # type: ignore[arg-type]


COUNTS_FROM = SENT + RULES.absence_counts_after


def test_absence_counts_only_after_lease_request_lag_and_grace_and_only_twice() -> None:
    pair = live(AttemptState.UNCONFIRMED)
    # Given a look that began too early, When it finds nothing, Then nothing is proved
    pair = after(pair, _looked(pair, FindingKind.ABSENT, COUNTS_FROM - 0.001))
    assert (pair[0].state, pair[0].absences) == (AttemptState.UNCONFIRMED, 0)
    # When as many look in time as are needed, Then the number is free
    for n in range(PROOFS_NEEDED):
        assert pair[0].absences == n
        pair = after(pair, _looked(pair, FindingKind.ABSENT, COUNTS_FROM + n))
    assert (pair[0].state, pair[1].state) == (AttemptState.NOT_PLACED, TargetState.WAITING)
    assert pair[1].attempts == 0


def test_one_look_that_is_written_twice_is_one_proof() -> None:
    pair = live(AttemptState.UNCONFIRMED)
    look = _looked(pair, FindingKind.ABSENT, COUNTS_FROM)
    once = after(pair, look)
    assert once[0].absences == 1
    assert step(once, look) == Step(note="late_look")


def test_a_list_that_cannot_be_trusted_begins_the_proof_anew() -> None:
    pair = live(AttemptState.UNCONFIRMED, absences=1)
    assert after(pair, _looked(pair, FindingKind.BLIND, COUNTS_FROM))[0].absences == 0


@pytest.mark.parametrize("token", [1, 5])
def test_a_call_that_was_seen_is_found_whoever_saw_it(token: int) -> None:
    pair = live(AttemptState.UNCONFIRMED, token=5)
    attempt, target = after(pair, Looked(token, Finding(FindingKind.FOUND, NOW, call_id="call-9")))
    assert (attempt.state, attempt.call_id, target.attempts) == (AttemptState.PLACED, "call-9", 1)


def test_the_look_at_an_earlier_attempt_says_nothing_about_a_later_one() -> None:
    assert step(live(AttemptState.UNCONFIRMED, token=4), Looked(3, Finding(FindingKind.ABSENT, NOW + 1e6))) == Step(
        note="late_look"
    )


@pytest.mark.parametrize(("on_unknown", "state"), [
    (OnUnknown.HOLD, TargetState.HELD),
    (OnUnknown.DONE, TargetState.DONE),
    (OnUnknown.RETRY, TargetState.WAITING),
])  # fmt: skip
@pytest.mark.parametrize("before", [AttemptState.PLACED, AttemptState.UNCONFIRMED])
def test_when_time_runs_out_the_plan_decides(before: AttemptState, on_unknown: OnUnknown, state: TargetState) -> None:
    pair = live(before, give_up_at=NOW)
    attempt, target = after(pair, TimeRanOut(), Plan(on_unknown=on_unknown))
    assert (attempt.state, attempt.disposition) == (AttemptState.ENDED, Disposition.UNKNOWN)
    assert (target.state, target.attempts) == (state, 1)


def test_the_default_never_rings_again_by_itself() -> None:
    assert after(live(AttemptState.UNCONFIRMED, give_up_at=NOW), TimeRanOut())[1].state is TargetState.HELD


# --- reports


@pytest.mark.parametrize("state", [AttemptState.SENDING, AttemptState.PLACED, AttemptState.UNCONFIRMED])
def test_a_result_ends_the_attempt_wherever_it_stands(state: AttemptState) -> None:
    attempt, target = after(live(state), final(Disposition.ANSWERED))
    assert (attempt.state, target.state, target.attempts) == (AttemptState.ENDED, TargetState.DONE, 1)


@pytest.mark.parametrize("state", [AttemptState.SENDING, AttemptState.UNCONFIRMED])
def test_a_call_that_is_under_way_was_placed(state: AttemptState) -> None:
    attempt, _ = after(live(state), Reported(CallReport(ReportStatus.PENDING, call_id="call-1")))
    assert (attempt.state, attempt.call_id) == (AttemptState.PLACED, "call-1")


@pytest.mark.parametrize("status", [ReportStatus.MISSING, ReportStatus.UNREACHABLE])
@pytest.mark.parametrize("state", sorted(LIVE_ATTEMPT_STATES))
def test_not_to_be_found_is_never_evidence(state: AttemptState, status: ReportStatus) -> None:
    assert after(live(state), Reported(CallReport(status)))[0].state is state


def test_the_retry_runs_from_the_end_of_the_call_within_its_life() -> None:
    # Given a provider whose clock is five hours behind, or ahead
    for said, counted_from in ((SENT - 18_000.0, SENT), (NOW + 18_000.0, NOW), (NOW - 4.0, NOW - 4.0), (None, NOW)):
        _, target = after(live(AttemptState.PLACED), final(Disposition.BUSY, ended_at=said))
        assert target.due_at == counted_from + 300.0


def test_the_truth_replaces_unknown_and_its_target_follows() -> None:
    for word, state in ((Disposition.ANSWERED, TargetState.DONE), (Disposition.BUSY, TargetState.WAITING)):
        attempt, target = after(ended_unknown(), final(word))
        assert (attempt.disposition, target.state, target.attempts) == (word, state, 1)
        assert target.tally[Disposition.UNKNOWN] == 0


def test_the_truth_about_an_earlier_attempt_does_not_release_a_target_that_is_held_for_a_later_one() -> None:
    # Given two attempts whose end nobody knows, the later one holding the target
    pair = ended_unknown(attempts=2, tally={Disposition.UNKNOWN: 2}, last_attempt_at=NOW - 2.0)
    # When the first turns out to have been busy, Then nobody is rung before a person has decided about the second
    attempt, target = after(pair, final(Disposition.BUSY))
    assert (attempt.disposition, target.state) == (Disposition.BUSY, TargetState.HELD)
    # But if it was answered, there is nothing left to do
    assert after(pair, final(Disposition.ANSWERED))[1].state is TargetState.DONE


@pytest.mark.parametrize("event", [
    Answered(1, throttled("slow")),
    Answered(1, conflict("queued")),
    GivenBack(1, "held up"),
    final(Disposition.BUSY),
])  # fmt: skip
def test_an_answer_told_while_the_next_call_is_in_the_air_is_the_last_call(event: Event) -> None:
    # Given a retry under way, When the call before it turns out to have been answered
    first, target = ended_unknown(state=TargetState.CALLING, attempt_id=2)
    told = step((first, target), final(Disposition.ANSWERED)).target
    assert told is not None
    assert told.state is TargetState.CALLING
    # Then, however the retry ends, there is no other
    retry = live(AttemptState.SENDING)[0]._replace(id=2)
    assert after((retry, told), event)[1].state is TargetState.DONE


@pytest.mark.parametrize("state", [AttemptState.NOT_PLACED, AttemptState.RELEASED, AttemptState.REFUSED])
@pytest.mark.parametrize(("word", "becomes"), [
    (Disposition.ANSWERED, TargetState.DONE), (Disposition.NO_ANSWER, TargetState.WAITING)])  # fmt: skip
def test_a_call_that_was_placed_after_all_counts(state: AttemptState, word: Disposition, becomes: TargetState) -> None:
    before = Attempt(1, 7, 4, state, SENT, sent_at=SENT, ended_at=NOW)
    attempt, target = after((before, Target(7, TargetState.WAITING, due_at=NOW)), final(word))
    assert (attempt.state, attempt.counted, target.attempts, target.state) == (AttemptState.ENDED, True, 1, becomes)
    assert target.due_at is None or target.due_at == NOW + 900.0


# --- what a conflict proves


def test_only_the_holder_s_conflict_proves_an_earlier_call() -> None:
    attempt, _ = live(AttemptState.SENDING)
    assert proves_an_earlier_call(attempt, Answered(1, conflict("queued")))
    assert not proves_an_earlier_call(attempt, Answered(2, conflict("queued")))
    assert not proves_an_earlier_call(attempt, Answered(1, unconfirmed("lost")))
    for state in set(AttemptState) - {AttemptState.SENDING}:
        assert not proves_an_earlier_call(attempt._replace(state=state), Answered(1, conflict("queued")))


def test_a_call_proved_by_a_conflict_is_waited_for_again() -> None:
    attempt, target = after(ended_unknown(), ProvedByConflict())
    assert (attempt.state, attempt.disposition) == (AttemptState.PLACED, None)
    assert (target.state, target.attempt_id, target.attempts) == (TargetState.CALLING, 1, 1)


@pytest.mark.parametrize("moved", [
    {"state": TargetState.DONE, "disposition": Disposition.ANSWERED},
    {"state": TargetState.CALLING, "attempt_id": 2},
    {"last_attempt_at": NOW},
])  # fmt: skip
def test_a_conflict_reopens_nothing_that_has_moved_on(moved: dict[str, object]) -> None:
    assert step(ended_unknown(**moved), ProvedByConflict()) == Step()


def test_the_vocabulary_is_whole() -> None:
    """A new state or verdict must be decided about here, not fall through."""
    for state, kind in product(LIVE_ATTEMPT_STATES, VerdictKind):
        assert isinstance(step(live(state), Answered(1, Verdict(kind))), Step)
