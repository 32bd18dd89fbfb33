"""``python -m tests.chaos --numbers N --seed S --database sqlite|postgresql``; ``--deploys N`` for rolling restarts.

Exits 0 where nobody was rung twice, nobody was lost and every disposition is right; 1 with the evidence otherwise.
"""

import argparse
import random
import sys

from tests.chaos import deploys, kill_loop


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--numbers", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=None, help="drawn at random where it is not given")
    parser.add_argument("--database", choices=("sqlite", "postgresql", "both"), default="both")
    parser.add_argument("--provider", default="sandbox", help="the dialect that is dialled through")
    parser.add_argument("--rate", type=float, default=60.0, help="calls per second")
    parser.add_argument("--fire-for", type=float, default=None, help="seconds; without it, until nine in ten are done")
    parser.add_argument("--deploys", type=int, default=0, help="so many rolling restarts instead of the kill loop")
    given = parser.parse_args()
    if given.deploys:
        result = deploys.run(given.deploys)
        print(result.report(), flush=True)
        return 0 if result.clean else 1
    seed = given.seed if given.seed is not None else random.SystemRandom().randrange(1_000_000)
    clean = True
    for database in ("postgresql", "sqlite") if given.database == "both" else (given.database,):
        outcome = kill_loop.run(
            given.numbers, seed, database, kind=given.provider, rate=given.rate, fire_for=given.fire_for
        )
        print(outcome.report(), flush=True)
        clean = clean and outcome.clean
    return 0 if clean else 1


if __name__ == "__main__":
    sys.exit(main())
