"""``python -m tests.simulation --seeds 1000000 --jobs 2``: the long form of tests/simulation/test_seeds.py."""

import argparse
import os
import sys

from tests.simulation.run import Tally, run_many, run_seed


def main() -> int:
    arguments = _arguments()
    if arguments.replay is not None:
        outcome = run_seed(arguments.replay, beyond=arguments.beyond)
        print(f"seed {outcome.seed}: {outcome.violation or 'nothing that must not happen happened'}")
        print(_counts(outcome.seen.items()))
        return 1 if outcome.violation else 0
    tally = run_many(arguments.start, arguments.seeds, arguments.jobs, beyond=arguments.beyond)
    _print(tally, arguments.beyond)
    return 1 if tally.broken and not arguments.beyond else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=20_000, metavar="N")
    parser.add_argument("--from", dest="start", type=int, default=0, metavar="SEED")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--replay", type=int, metavar="SEED", help="run this one seed and say how it went")
    parser.add_argument("--beyond", action="store_true", help="let the provider break its promise: residual risk (a)")
    return parser.parse_args()


def _print(tally: Tally, beyond: bool) -> None:
    print(f"{tally.seeds} seeds, {tally.hours:,.0f} simulated hours in {tally.seconds:.1f} s "
          f"({tally.seeds / tally.seconds:,.0f} seeds/s, {tally.hours * 3600 / tally.seconds:,.0f} times real time)"
          )  # fmt: skip
    print(_counts(sorted(tally.seen.items())))
    print(f"{len(tally.broken)} broken" + (" (the provider broke its promise)" if beyond else ""))
    for seed, story in tally.broken[:20]:
        print(f"  seed {seed}: {story}\n    python -m tests.simulation --replay {seed}" + " --beyond" * beyond)


def _counts(seen: object) -> str:
    return "\n".join(f"  {count:>10,}  {name}" for name, count in seen)  # type: ignore[attr-defined]


if __name__ == "__main__":
    sys.exit(main())
