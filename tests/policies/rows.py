"""Attempts, targets and events as hypothesis makes them up: every state, also such as never meet."""

from hypothesis import strategies as st

from campaign.domain.calls import CallReport, Finding, FindingKind, ReportStatus
from campaign.domain.dispositions import Disposition
from campaign.domain.line import PollSchedule
from campaign.domain.plan import OnUnknown, Plan
from campaign.domain.rows import Attempt, Target
from campaign.domain.states import LIVE_ATTEMPT_STATES, AttemptState, TargetState
from campaign.domain.verdicts import Verdict, VerdictKind
from campaign.policies.events import (
    Answered,
    Event,
    GivenBack,
    LeaseRanOut,
    Looked,
    ProvedByConflict,
    Reported,
    TimeRanOut,
)
from campaign.policies.looking import LookRules

NOW = 1_795_000_000.0
FINAL = frozenset(AttemptState) - LIVE_ATTEMPT_STATES
LEASED = frozenset({AttemptState.CLAIMED, AttemptState.SENDING})
LOOKED_AT = frozenset({AttemptState.PLACED, AttemptState.UNCONFIRMED})

moments = st.floats(NOW - 20_000.0, NOW + 20_000.0, allow_nan=False)
tokens = st.integers(1, 4)
dispositions = st.sampled_from(Disposition)
reasons = st.sampled_from(["", "because"])
call_ids = st.sampled_from([None, "call-1", "call-2"])
rules = st.builds(
    LookRules,
    poll=st.builds(PollSchedule, give_up_after=st.sampled_from([400.0, 7200.0])),
    can_ask=st.booleans(),
    can_find=st.booleans(),
)
plans = st.builds(
    Plan,
    max_attempts=st.integers(1, 3),
    on_unknown=st.sampled_from(OnUnknown),
    max_conflicts=st.integers(1, 3),
)
tallies = st.dictionaries(dispositions, st.integers(0, 3), max_size=3)


@st.composite
def attempts(draw: st.DrawFn, states: frozenset[AttemptState] = frozenset(AttemptState)) -> Attempt:
    """A row that the workers may have written: leases, looks and endings where the state needs them."""
    state = draw(st.sampled_from(sorted(states)))
    claimed_at = draw(st.floats(NOW - 20_000.0, NOW))
    left = state is not AttemptState.CLAIMED
    disposition = None
    if state is AttemptState.ENDED:
        disposition = draw(dispositions)
    elif state is AttemptState.REFUSED:
        disposition = draw(st.sampled_from([None, Disposition.ERROR, Disposition.INVALID_NUMBER]))
    return Attempt(
        1,
        7,
        draw(tokens),
        state,
        claimed_at,
        probe=draw(st.booleans()),
        lease_until=draw(moments) if state in LEASED else None,
        sent_at=draw(st.floats(claimed_at, NOW)) if left else None,
        placed_at=claimed_at if state is AttemptState.PLACED else None,
        next_look_at=draw(moments) if state in LOOKED_AT else None,
        looks=draw(st.integers(0, 50)),
        absences=draw(st.integers(0, 1)),
        give_up_at=draw(moments) if state in LOOKED_AT else None,
        call_id=draw(call_ids),
        counted=state is AttemptState.PLACED or disposition is not None,
        ended_at=claimed_at if state in FINAL else None,
        disposition=disposition,
    )


@st.composite
def pairs(draw: st.DrawFn, states: frozenset[AttemptState] = frozenset(AttemptState)) -> tuple[Attempt, Target]:
    """An attempt and its target. A live attempt's target is calling with it; another's may be anywhere."""
    attempt = draw(attempts(states))
    state = TargetState.CALLING if attempt.state in LIVE_ATTEMPT_STATES else draw(st.sampled_from(TargetState))
    mine = attempt.state in LIVE_ATTEMPT_STATES
    counted = draw(st.integers(1, 5)) if attempt.counted else draw(st.integers(0, 4))
    target = Target(
        7,
        state,
        due_at=draw(moments) if state is TargetState.WAITING else None,
        reason="because",
        attempts=counted,
        attempts_before_round=draw(st.integers(0, counted)),
        conflicts=draw(st.integers(0, 3)),
        rescues=draw(st.integers(0, 4)),
        tally=draw(tallies),
        attempt_id=(1 if mine else 2) if state is TargetState.CALLING else None,
        disposition=draw(dispositions) if state is TargetState.DONE else draw(st.none() | dispositions),
        last_attempt_at=draw(st.none() | moments),
        ended_at=NOW if state in (TargetState.DONE, TargetState.SKIPPED) else None,
    )
    return attempt, target


verdicts = st.builds(
    Verdict,
    kind=st.sampled_from(VerdictKind),
    reason=reasons,
    call_id=call_ids,
    retry_after=st.none() | st.floats(0.0, 1e9),
)
reports = st.builds(
    CallReport,
    status=st.sampled_from(ReportStatus),
    call_id=call_ids,
    disposition=st.none() | dispositions,
    ended_at=st.none() | st.floats(0.0, 4e9),
)
findings = st.builds(
    Finding,
    kind=st.sampled_from(FindingKind),
    as_of=moments,
    call_id=call_ids,
    report=st.none() | reports,
)
events: st.SearchStrategy[Event] = st.one_of(
    st.builds(Answered, tokens, verdicts),
    st.builds(GivenBack, tokens, reasons, st.none() | moments, st.booleans()),
    st.builds(LeaseRanOut),
    st.builds(Reported, reports),
    st.builds(Looked, tokens, findings),
    st.builds(ProvedByConflict),
    st.builds(TimeRanOut),
)
