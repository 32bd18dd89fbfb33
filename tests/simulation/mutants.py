"""The protocol with one thing wrong, each as code. The simulation must catch every one, or it is too gentle."""

from collections.abc import Sequence
from dataclasses import replace

from campaign.domain.calls import CallReport, Finding, FindingKind, ReportStatus
from campaign.domain.pace import Correction, Want
from campaign.domain.plan import OnUnknown, Plan
from campaign.domain.rows import Attempt, Target
from campaign.domain.states import AttemptState, TargetState
from campaign.domain.verdicts import VerdictKind
from campaign.policies.endings import done, waiting
from campaign.policies.events import (
    Answered,
    Event,
    GivenBack,
    LeaseRanOut,
    Looked,
    Reported,
    Step,
    TimeRanOut,
)
from campaign.policies.gates import PASS, Facts, Gate, gate
from campaign.policies.looking import LookRules
from campaign.policies.pacing import SECOND
from campaign.policies.reserving import Books, Grant, Row
from tests.simulation.clockwork import Machine
from tests.simulation.database import AttemptRow
from tests.simulation.protocol import BUDGET, Hand, Happened, Protocol


def _freed(attempt: Attempt, target: Target, now: float, state: AttemptState) -> Step:
    closed = attempt._replace(state=state, token=attempt.token + 1, lease_until=None, next_look_at=None, ended_at=now)
    return Step(closed, waiting(target, now, "freed by a mutant"))


class BlindRetry(Protocol):
    """A read timeout means that nothing happened, so the number is dialled again."""

    def decide(self, attempt: Attempt, target: Target, event: Event, plan: Plan, rules: LookRules, now: float) -> Step:
        doubt = isinstance(event, Answered) and event.verdict.kind is VerdictKind.UNCONFIRMED
        if doubt and attempt.state is AttemptState.SENDING and event.token == attempt.token:  # type: ignore[union-attr]
            return _freed(attempt, target, now, AttemptState.RELEASED)
        return super().decide(attempt, target, event, plan, rules, now)


class AnswerWithoutToken(Protocol):
    """Whatever a worker says about an attempt is believed, however long ago it held it."""

    def decide(self, attempt: Attempt, target: Target, event: Event, plan: Plan, rules: LookRules, now: float) -> Step:
        if isinstance(event, Answered) and event.token != attempt.token:
            attempt = attempt._replace(state=AttemptState.SENDING)
            event = replace(event, token=attempt.token)
        return super().decide(attempt, target, event, plan, rules, now)


class NoCanary(Protocol):
    """An empty list proves absence."""

    def absence(self, finding: Finding, canary: AttemptRow | None) -> Finding:
        return replace(finding, kind=FindingKind.ABSENT) if finding.kind is FindingKind.BLIND else finding


class _OtherRules(Protocol):
    def rules_for_a_look(self, rules: LookRules) -> LookRules:
        return rules

    def decide(self, attempt: Attempt, target: Target, event: Event, plan: Plan, rules: LookRules, now: float) -> Step:
        if isinstance(event, Looked):
            rules = self.rules_for_a_look(rules)
        return super().decide(attempt, target, event, plan, rules, now)


class NoGrace(_OtherRules):
    """Absence counts as soon as the list has caught up."""

    def rules_for_a_look(self, rules: LookRules) -> LookRules:
        return replace(rules, grace=0.0)


class NoLag(_OtherRules):
    """Nobody waits for the list to catch up, nor for anything else."""

    def rules_for_a_look(self, rules: LookRules) -> LookRules:
        return replace(rules, grace=-rules.lease - rules.request_timeout, list_lag=0.0)


class OneAbsence(Protocol):
    """One look that does not show the call is proof enough, and how old the look is does not matter."""

    def decide(self, attempt: Attempt, target: Target, event: Event, plan: Plan, rules: LookRules, now: float) -> Step:
        if isinstance(event, Looked) and event.finding.kind is FindingKind.ABSENT:
            attempt = attempt._replace(absences=1)
            event = replace(event, finding=replace(event.finding, as_of=now))
        return super().decide(attempt, target, event, plan, rules, now)


class OneLookCountsTwice(Protocol):
    """A look does not change hands, so the same one written twice is two proofs; its age does not matter either."""

    def decide(self, attempt: Attempt, target: Target, event: Event, plan: Plan, rules: LookRules, now: float) -> Step:
        step = super().decide(attempt, target, event, plan, rules, now)
        if isinstance(event, Looked) and step.attempt is not None and step.attempt.state is AttemptState.UNCONFIRMED:
            return replace(step, attempt=step.attempt._replace(token=attempt.token))
        return step


class LookByTheWorkersClock(Protocol):
    """``as_of`` is the wall clock of the worker that looks; a fast one makes five minutes of grace pass at once."""

    def as_of(self, taken_at: float, machine: Machine) -> float:
        return taken_at + machine.skew


class AnothersCallIsAnAbsence(Protocol):
    """A list in which another attempt's call is found first is not read any further: ours is not in it."""

    def other_calls(self, row: AttemptRow) -> frozenset[str]:
        return frozenset()

    def not_anothers(self, row: AttemptRow, finding: Finding) -> Finding:
        judged = super().not_anothers(row, finding)
        if judged is finding:
            return finding
        return replace(judged, kind=FindingKind.ABSENT)


class LeaseToWaiting(Protocol):
    """A lease that runs out on `sending` frees the number: its worker died, so surely nothing left."""

    def decide(self, attempt: Attempt, target: Target, event: Event, plan: Plan, rules: LookRules, now: float) -> Step:
        if (
            isinstance(event, LeaseRanOut)
            and attempt.state is AttemptState.SENDING
            and self.lease_is_over(attempt, now)
        ):
            return _freed(attempt, target, now, AttemptState.RELEASED)
        return super().decide(attempt, target, event, plan, rules, now)


class NoGuard(Protocol):
    """A committed call is sent whenever its worker gets round to it."""

    def too_late_to_send(self, hand: Hand, now: float) -> bool:
        return False


class GuardFromTheCommitOn(Protocol):
    """The worker's clock starts when the COMMIT's answer is read: a freeze between the two is not noticed."""

    def too_late_to_send(self, hand: Hand, now: float) -> bool:
        return now - hand.committed_at > BUDGET


class GuardOnTheRow(Protocol):
    """The guard reads the row's time, which another hand may have renewed, by a clock that may be slow."""

    def too_late_to_send(self, hand: Hand, now: float) -> bool:
        value = hand.row.value
        renewed = value.next_look_at or value.lease_until or 0.0
        return now > max(renewed, (value.sent_at or 0.0) + BUDGET)


class AbaInSettle(Protocol):
    """Settle names the target, not the attempt that it looked for."""

    def record(self, happened: Sequence[Happened]) -> None:
        super().record([self._of_the_target(item) for item in happened])

    def _of_the_target(self, item: Happened) -> Happened:
        attempt_id, event = item
        if not isinstance(event, Looked):
            return item
        row = self.database.attempts[attempt_id]
        now_live = row.target.value.attempt_id or attempt_id
        return now_live, replace(event, token=self.database.attempts[now_live].value.token)


class ConflictCounts(Protocol):
    """`already queued` is booked as an attempt."""

    def decide(self, attempt: Attempt, target: Target, event: Event, plan: Plan, rules: LookRules, now: float) -> Step:
        step = super().decide(attempt, target, event, plan, rules, now)
        if step.note == "conflict" and step.attempt is not None and step.target is not None:
            counted = step.target._replace(attempts=step.target.attempts + 1)
            return replace(step, attempt=step.attempt._replace(counted=True), target=counted)
        return step


class NoLiveIndex(Protocol):
    """Two campaigns may dial one number at the same time."""

    def claim(self, line: str, wanted: int, turn: int) -> tuple[list[Hand], int]:
        self.database.indexed = False
        return super().claim(line, wanted, turn)

    def index_refuses(self, phone: str) -> bool:
        return False

    def facts(self, phone: str, plan: Plan, now: float, *, with_live: bool) -> Facts:
        return super().facts(phone, plan, now, with_live=False)


class GatesOnlyAtTheClaim(Protocol):
    """Nobody asks again at the last moment."""

    def gate_at_confirm(self, row: AttemptRow, now: float) -> Gate:
        return PASS


class PauseNotReread(Protocol):
    """What was claimed before the pause is sent."""

    def is_running(self, row: AttemptRow) -> bool:
        return True


class NoMarginBeforeClosing(Protocol):
    """A request may leave until the very second of closing, and rings after it."""

    def gate(self, phone: str, plan: Plan, facts: Facts, now: float) -> Gate:
        return gate(phone, plan, facts, now, 0.0)


class MarginOfALineThatRingsAtOnce(Protocol):
    """Nobody thinks of the provider's queue: calls leave until half a minute before closing, and ring after it."""

    def gate(self, phone: str, plan: Plan, facts: Facts, now: float) -> Gate:
        return gate(phone, plan, facts, now)


class HeldCallsAreLeftToRing(Protocol):
    """Nobody takes back what the provider still holds when the window closes."""

    def must_not_ring(self, row: AttemptRow, report: CallReport, margin: float) -> bool:
        return False


class TakenBackIsAnAttempt(Protocol):
    """A call that was canceled before it rang is booked like one that somebody let ring."""

    def decide(self, attempt: Attempt, target: Target, event: Event, plan: Plan, rules: LookRules, now: float) -> Step:
        if isinstance(event, Reported) and event.report.status is ReportStatus.FINAL:
            event = replace(event, report=replace(event.report, rang=None))
        return super().decide(attempt, target, event, plan, rules, now)


class StaleGiveBack(Protocol):
    """`I did not send it` frees the number whoever holds it now."""

    def decide(self, attempt: Attempt, target: Target, event: Event, plan: Plan, rules: LookRules, now: float) -> Step:
        if isinstance(event, GivenBack) and attempt.token != event.token:
            return Step(None, waiting(target, now, "given back"))
        return super().decide(attempt, target, event, plan, rules, now)


class InFlightOutsideTheLock(Protocol):
    """Live attempts are counted before the line's row is locked: another claim's are not among them."""

    _counted: tuple[float, int] = (0.0, 0)

    def live_on_line(self, line: str) -> int:
        counted_at, count = self._counted
        if self.clock.now - counted_at < 1.0:
            return count
        self._counted = (self.clock.now, super().live_on_line(line))
        return self._counted[1]


class OwnPacePerClaim(Protocol):
    """Every reservation starts from empty books."""

    def reserve(self, line: str, wants: Sequence[Want], told: Sequence[Correction] = ()) -> Grant:
        now = round(self.clock.now * SECOND)
        self.books[line] = Books({key: Row(now) for key in (line, *(want.key for want in wants))})
        return super().reserve(line, wants, told)


class MissedStartsLeave(Protocol):
    """A call that is late for its start time leaves all the same."""

    def start_is_missed(self, row: AttemptRow, at: float, now: float) -> bool:
        return False


class UnknownIsRetried(Protocol):
    """An attempt that nobody can tell the end of is dialled again, whatever the plan says."""

    def decide(self, attempt: Attempt, target: Target, event: Event, plan: Plan, rules: LookRules, now: float) -> Step:
        plan = plan.model_copy(update={"on_unknown": OnUnknown.RETRY})
        return super().decide(attempt, target, event, plan, rules, now)


class UnknownIsNotPlaced(Protocol):
    """When the time for settling is over, what was not found is taken never to have been placed."""

    def decide(self, attempt: Attempt, target: Target, event: Event, plan: Plan, rules: LookRules, now: float) -> Step:
        if isinstance(event, TimeRanOut) and attempt.state is AttemptState.UNCONFIRMED:
            return _freed(attempt, target, now, AttemptState.NOT_PLACED)
        return super().decide(attempt, target, event, plan, rules, now)


class LateResultOverwrites(Protocol):
    """A final disposition is replaced by whatever is reported later."""

    def decide(self, attempt: Attempt, target: Target, event: Event, plan: Plan, rules: LookRules, now: float) -> Step:
        final = isinstance(event, Reported) and event.report.status is ReportStatus.FINAL
        if final and attempt.state is AttemptState.ENDED and target.state is not TargetState.CALLING:
            word = event.report.disposition  # type: ignore[union-attr]
            if word is not None and attempt.disposition is not None:
                return Step(attempt._replace(disposition=word), done(target, word, "told later", now))
        return super().decide(attempt, target, event, plan, rules, now)


class StaleConflictAdopts(Protocol):
    """A conflict proves an earlier call even where its own attempt has been given up since."""

    def proves_an_earlier_call(self, attempt: Attempt, event: Event) -> bool:
        return isinstance(event, Answered) and event.verdict.kind is VerdictKind.CONFLICT


class ResultForgotten(Protocol):
    """A placed call has nobody who looks again."""

    def decide(self, attempt: Attempt, target: Target, event: Event, plan: Plan, rules: LookRules, now: float) -> Step:
        step = super().decide(attempt, target, event, plan, rules, now)
        if step.attempt is not None and step.attempt.state is AttemptState.PLACED:
            return replace(step, attempt=step.attempt._replace(next_look_at=None))
        return step


class LeaseNeverRunsOut(Protocol):
    """Nobody sweeps: what a dead worker held stays with it."""

    def lease_is_over(self, attempt: Attempt, now: float) -> bool:
        return False


class LateAnswerDropped(Protocol):
    """A webhook that overtakes the answer is all there is: the attempt ends, and its target is never told."""

    def decide(self, attempt: Attempt, target: Target, event: Event, plan: Plan, rules: LookRules, now: float) -> Step:
        step = super().decide(attempt, target, event, plan, rules, now)
        early = isinstance(event, Reported) and attempt.state is AttemptState.SENDING
        return replace(step, target=None) if early else step


class AbsenceOfPlacedCall(Protocol):
    """`missing` in a poll ends a placed call as not placed."""

    def decide(self, attempt: Attempt, target: Target, event: Event, plan: Plan, rules: LookRules, now: float) -> Step:
        missing = isinstance(event, Reported) and event.report.status is ReportStatus.MISSING
        if missing and attempt.state is AttemptState.PLACED:
            return _freed(attempt, target, now, AttemptState.NOT_PLACED)
        return super().decide(attempt, target, event, plan, rules, now)


class SendWithoutCommit(Protocol):
    """The answer to the COMMIT of `sending` is not waited for: the request leaves with the row still claimed."""

    def confirm(self, line: str, hands: Sequence[Hand]) -> list[Hand]:
        return [hand for hand in hands if hand.row.value.token == hand.token]


class ConfirmWithoutToken(Protocol):
    """`sending` is committed by attempt id alone, also for what the sweeper has freed meanwhile."""

    def confirm(self, line: str, hands: Sequence[Hand]) -> list[Hand]:
        lost = [hand for hand in hands if hand.row.value.token != hand.token]
        for hand in lost:
            hand.since = self.clock.now
        return super().confirm(line, hands) + lost


class NotToCallIsReadAtTheStart(Protocol):
    """The do-not-call list is read when the campaign starts."""

    def facts(self, phone: str, plan: Plan, now: float, *, with_live: bool) -> Facts:
        return replace(super().facts(phone, plan, now, with_live=with_live), listed=False)

    def opt_out(self, phone: str) -> None:
        self.database.not_to_call[phone] = self.clock.now
