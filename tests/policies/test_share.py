"""Fair share: nothing lost, nothing given twice, and everybody by weight."""

from hypothesis import given
from hypothesis import strategies as st

from campaign.policies.share import Demand, split

demands = st.dictionaries(
    st.integers(1, 9), st.builds(Demand, st.integers(0, 30), st.floats(0.01, 100.0)), max_size=6
)  # fmt: skip
weight_maps = st.dictionaries(st.integers(1, 9), st.floats(0.1, 10.0), min_size=1, max_size=6)


@given(calls=st.integers(0, 60), wanted=demands, turn=st.integers(0, 20))
def test_as_many_as_there_are_or_are_wanted_and_none_beyond_its_most(
    calls: int, wanted: dict[int, Demand], turn: int
) -> None:
    given_ = split(calls, wanted, turn)
    assert given_.keys() == wanted.keys()
    assert sum(given_.values()) == min(calls, sum(d.most for d in wanted.values()))
    assert all(0 <= given_[c] <= d.most for c, d in wanted.items())


@given(calls=st.integers(0, 60), weights=weight_maps, turn=st.integers(0, 20))  # fmt: skip
def test_with_enough_demand_everybody_gets_the_share_of_its_weight_to_within_one(
    calls: int, weights: dict[int, float], turn: int
) -> None:
    given_ = split(calls, {c: Demand(1000, w) for c, w in weights.items()}, turn)
    total = sum(weights.values())
    assert all(abs(given_[c] - calls * w / total) <= 1.0 + 1e-6 for c, w in weights.items())


@given(campaigns=st.integers(1, 6), start=st.integers(0, 50))
def test_a_pace_of_one_call_comes_round_to_everybody(campaigns: int, start: int) -> None:
    wanted = {n: Demand(5) for n in range(campaigns)}
    served = [next(c for c, n in split(1, wanted, turn).items() if n) for turn in range(start, start + campaigns)]
    assert sorted(served) == list(range(campaigns))


def test_what_one_does_not_want_goes_to_the_others() -> None:
    assert split(10, {1: Demand(2, 9.0), 2: Demand(100, 1.0)}) == {1: 2, 2: 8}
