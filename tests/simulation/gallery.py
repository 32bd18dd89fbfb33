"""Every mutant with the climate in which it dies. ``python -m tests.simulation.gallery`` tells by which seed, and of
what.
"""

import sys
from dataclasses import dataclass

from tests.simulation import mutants
from tests.simulation.climates import abrupt, closing, hasty, lossy, overflowing, queueing, sluggish
from tests.simulation.protocol import Protocol
from tests.simulation.run import run_seed
from tests.simulation.scenario import Climate, temperate
from tests.simulation.world import Outcome


@dataclass(frozen=True, slots=True)
class Mutant:
    """``since`` is a seed shortly before the first that catches it in ``climate``."""

    protocol: type[Protocol]
    climate: Climate = temperate
    since: int = 0

    @property
    def name(self) -> str:
        return self.protocol.__name__


MUTANTS = (
    Mutant(mutants.BlindRetry),
    Mutant(mutants.AnswerWithoutToken),
    Mutant(mutants.NoCanary),
    Mutant(mutants.NoGrace),
    Mutant(mutants.NoLag),
    Mutant(mutants.OneAbsence, climate=lossy),
    Mutant(mutants.OneLookCountsTwice, climate=lossy, since=150),
    Mutant(mutants.LookByTheWorkersClock, climate=lossy, since=75),
    Mutant(mutants.AnothersCallIsAnAbsence, climate=abrupt),
    Mutant(mutants.LeaseToWaiting),
    Mutant(mutants.NoGuard),
    Mutant(mutants.GuardFromTheCommitOn, since=400),
    Mutant(mutants.GuardOnTheRow, since=400),
    Mutant(mutants.AbaInSettle, climate=sluggish, since=100),
    Mutant(mutants.ConflictCounts),
    Mutant(mutants.NoLiveIndex),
    Mutant(mutants.GatesOnlyAtTheClaim),
    Mutant(mutants.PauseNotReread),
    Mutant(mutants.NoMarginBeforeClosing, climate=closing),
    Mutant(mutants.MarginOfALineThatRingsAtOnce, climate=queueing),
    Mutant(mutants.HeldCallsAreLeftToRing, climate=overflowing),
    Mutant(mutants.TakenBackIsAnAttempt, climate=overflowing),
    Mutant(mutants.StaleGiveBack),
    Mutant(mutants.InFlightOutsideTheLock),
    Mutant(mutants.OwnPacePerClaim),
    Mutant(mutants.MissedStartsLeave, since=900),
    Mutant(mutants.UnknownIsRetried),
    Mutant(mutants.UnknownIsNotPlaced),
    Mutant(mutants.LateResultOverwrites),
    Mutant(mutants.StaleConflictAdopts, climate=hasty, since=900),
    Mutant(mutants.ResultForgotten),
    Mutant(mutants.LeaseNeverRunsOut),
    Mutant(mutants.LateAnswerDropped),
    Mutant(mutants.AbsenceOfPlacedCall),
    Mutant(mutants.SendWithoutCommit),
    Mutant(mutants.ConfirmWithoutToken),
    Mutant(mutants.NotToCallIsReadAtTheStart),
)


def first_kill(mutant: Mutant, within: int, since: int | None = None) -> Outcome | None:
    """The first of ``within`` seeds that ends in a violation."""
    start = mutant.since if since is None else since
    for seed in range(start, start + within):
        outcome = run_seed(seed, mutant.protocol, mutant.climate)
        if outcome.violation is not None:
            return outcome
    return None


if __name__ == "__main__":
    most = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    for mutant in MUTANTS:
        if sys.argv[2:] and mutant.name not in sys.argv[2:]:
            continue
        outcome = first_kill(mutant, most, since=0)
        print(mutant.name, f"{outcome.seed}: {outcome.violation}" if outcome else "SURVIVES", flush=True)
