"""Fair share: how the calls that a line may claim now are split between the campaigns that want some."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Demand:
    """``most`` is what the campaign may and can take now; ``weight`` is its share of the line, relative to others."""

    most: int
    weight: float = 1.0


def split(calls: int, demands: Mapping[int, Demand], turn: int = 0) -> dict[int, int]:
    """Calls per campaign id, in proportion to weight, none beyond its ``most``, none wasted while one wants more.

    What does not divide goes by largest remainder; ``turn`` rotates ties so that a pace of one call is shared in time.
    """
    given = dict.fromkeys(demands, 0)
    open_ = {campaign: demand for campaign, demand in demands.items() if demand.most > 0}
    while calls > 0 and open_:
        shares = _round(calls, open_, turn)
        for campaign, share in shares.items():
            taken = min(share, demands[campaign].most - given[campaign])
            given[campaign] += taken
            calls -= taken
        open_ = {c: d for c, d in open_.items() if given[c] < d.most}
    return given


def _round(calls: int, demands: Mapping[int, Demand], turn: int) -> dict[int, int]:
    total = sum(demand.weight for demand in demands.values())
    exact = {campaign: calls * demand.weight / total for campaign, demand in demands.items()}
    shares = {campaign: int(value) for campaign, value in exact.items()}
    order = sorted(demands)
    order = order[turn % len(order) :] + order[: turn % len(order)]
    by_remainder = sorted(order, key=lambda campaign: shares[campaign] - exact[campaign])
    for campaign in by_remainder[: calls - sum(shares.values())]:
        shares[campaign] += 1
    return shares
