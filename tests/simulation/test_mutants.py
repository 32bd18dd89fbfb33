"""Is the simulation harsh enough? Every way of getting the protocol wrong that we know of must be caught by it."""

import pytest

from tests.simulation.gallery import MUTANTS, Mutant, first_kill
from tests.simulation.protocol import Protocol
from tests.simulation.run import run_seed

WITHIN = 500


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_is_caught_and_the_right_protocol_is_not(mutant: Mutant) -> None:
    # Given the protocol with one thing wrong, When it runs, Then something happens that must never happen
    outcome = first_kill(mutant, WITHIN)
    assert outcome is not None, f"{mutant.name} survives {WITHIN} seeds from {mutant.since} on"
    # And in the very same world nothing of the kind happens to the right one
    for seed in {outcome.seed, mutant.since}:
        right = run_seed(seed, climate=mutant.climate)
        assert right.violation is None, f"seed {seed} in {mutant.climate.__name__}: {right.violation}"


def test_every_mutant_is_in_the_gallery_and_says_what_is_wrong_with_it() -> None:
    listed = {mutant.protocol for mutant in MUTANTS}
    written = {made for made in _offspring(Protocol) if not made.__name__.startswith("_")}
    assert listed == written
    assert all(made.__doc__ for made in listed)


def _offspring(parent: type[Protocol]) -> set[type[Protocol]]:
    return {each for child in parent.__subclasses__() for each in {child, *_offspring(child)}}
