"""A call that waits in a queue: may it ring, and was it an attempt?"""

from dataclasses import replace
from datetime import datetime

import pytest

from campaign.domain.calls import CallReport, ReportStatus
from campaign.domain.dispositions import Disposition
from campaign.domain.plan import Hours, Plan, Window
from campaign.domain.rows import Attempt, Target
from campaign.domain.states import AttemptState, TargetState
from campaign.policies.withdrawn import must_not_ring, never_rang, withdrawn

CLOSES = datetime.fromisoformat("2026-11-23T18:00+01:00").timestamp()
BERLIN = "+493012345678"
PLAN = Plan(hours=Hours(windows=(Window.model_validate({"from": "09:00", "to": "18:00"}),)), max_conflicts=3)
QUEUED = CallReport(ReportStatus.PENDING, rang=False)


@pytest.mark.parametrize(("report", "now", "listed", "answer"), [
    (QUEUED, CLOSES - 61.0, False, False),
    (QUEUED, CLOSES - 60.0, False, True),
    (QUEUED, CLOSES + 60.0, False, True),
    (QUEUED, CLOSES - 7200.0, True, True),
    (replace(QUEUED, rang=True), CLOSES, True, False),
    (replace(QUEUED, rang=None), CLOSES, True, False),
    (replace(QUEUED, status=ReportStatus.MISSING), CLOSES, True, False),
    (CallReport(ReportStatus.FINAL, disposition=Disposition.CANCELED, rang=False), CLOSES, True, False),
])  # fmt: skip
def test_only_what_is_shown_to_wait_is_asked_about(report: CallReport, now: float, listed: bool, answer: bool) -> None:
    assert must_not_ring(report, BERLIN, PLAN, now, 60.0, listed=listed) is answer


@pytest.mark.parametrize("disposition", list(Disposition))
@pytest.mark.parametrize("rang", [True, False, None])
def test_only_a_cancel_before_the_ring_is_no_attempt(disposition: Disposition, rang: bool | None) -> None:
    report = CallReport(ReportStatus.FINAL, disposition=disposition, rang=rang)
    assert never_rang(report) is (disposition is Disposition.CANCELED and rang is False)
    assert not never_rang(replace(report, status=ReportStatus.PENDING))


PLACED = Attempt(7, 3, 2, AttemptState.PLACED, 10.0, sent_at=11.0, next_look_at=40.0, give_up_at=99.0, counted=True)
CALLING = Target(3, TargetState.CALLING, attempts=1, attempt_id=7, first_attempt_at=11.0, last_attempt_at=11.0)


def test_the_count_is_given_back_and_the_target_waits() -> None:
    step = withdrawn(PLACED, CALLING, PLAN, 50.0, 51.0)
    assert step.attempt == PLACED._replace(
        state=AttemptState.ENDED, token=3, next_look_at=None, counted=False, ended_at=50.0,
        disposition=Disposition.CANCELED, reason="canceled in the provider's queue before it rang",
    )  # fmt: skip
    assert step.target is not None
    assert (step.target.state, step.target.due_at) == (TargetState.WAITING, 51.0 + PLAN.conflict_interval)
    assert (step.target.attempts, step.target.first_attempt_at, step.target.last_attempt_at) == (0, None, None)


def test_what_was_not_counted_gives_nothing_back_and_earlier_attempts_stay() -> None:
    twice = CALLING._replace(attempts=2, first_attempt_at=1.0)
    step = withdrawn(PLACED._replace(counted=False, state=AttemptState.UNCONFIRMED), twice, PLAN, 50.0, 51.0)
    assert step.target is not None
    assert (step.target.attempts, step.target.first_attempt_at) == (2, 1.0)
    step = withdrawn(PLACED, twice, PLAN, 50.0, 51.0)
    assert step.target is not None
    assert (step.target.attempts, step.target.first_attempt_at) == (1, 1.0)


def test_a_target_that_has_moved_on_is_only_counted_right() -> None:
    moved = CALLING._replace(attempts=2, attempt_id=8)
    step = withdrawn(PLACED, moved, PLAN, 50.0, 51.0)
    assert step.target == moved._replace(attempts=1)
    assert step.note == "late_result"


def test_it_is_held_when_it_has_happened_too_often() -> None:
    step = withdrawn(PLACED, CALLING._replace(conflicts=2), PLAN, 50.0, 51.0)
    assert step.target is not None
    assert (step.target.state, step.target.attempt_id, step.target.conflicts) == (TargetState.HELD, None, 3)
