"""Random programs with nasty data against every oracle: `scripts/fuzz MINUTES`."""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

from tests.fuzz import workers


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/fuzz", description=__doc__)
    parser.add_argument("minutes", type=float, nargs="?", default=2.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cases", type=int, default=10**9, help="at most this many")
    parser.add_argument("--case", help="SEED:NUMBER, one case alone")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument(
        "--limit", type=float, default=60, help="seconds of the processor for one case"
    )
    parser.add_argument(
        "--shrink", type=float, default=60, help="seconds for shrinking, in all"
    )
    options = parser.parse_args()
    if options.case is not None:
        return _single(options)
    from tests.fuzz import report

    start = time.monotonic()
    outcomes = []
    for outcome in workers.run(
        options.seed,
        count=options.cases,
        seconds=60 * options.minutes,
        limit=options.limit,
        workers=options.workers,
    ):
        outcomes.append(outcome)
        for _, finding in report.failures([outcome]):
            print(report.line(outcome, finding), file=sys.stderr, flush=True)
        if len(outcomes) % 100 == 0:
            print(f"{len(outcomes)} programs", file=sys.stderr, flush=True)
    return _report(outcomes, time.monotonic() - start, options)


def _report(outcomes: list[Any], seconds: float, options: Any) -> int:
    from tests.fuzz import report

    print(report.summary(outcomes, seconds))
    groups = report.by_signature(outcomes)
    if not groups:
        return 0
    print("\nfailures, smallest found")
    share = options.shrink / len(groups)
    workers.set_up()
    for (kind, family, solver), members in groups.items():
        names = ", ".join(outcome.case.name for outcome, _ in members[:5])
        print(f"\n{kind}: {family}, {solver or '-'}: {len(members)} ({names})")
        print(_shrunk(*members[0], seconds=share, limit=options.limit), flush=True)
    return 1


def _shrunk(outcome: Any, finding: Any, *, seconds: float, limit: float) -> str:
    from tests.fuzz.shrink import shrink, snippet

    case = outcome.case
    if finding.kind not in ("hang", "crash", "slow"):
        case, finding = shrink(case, finding, seconds=seconds, limit=limit)
    return snippet(case, finding)


def _single(options: Any) -> int:
    workers.set_up()
    from tests.fuzz.draw import draw
    from tests.fuzz.oracles import examine

    seed, number = (int(x) for x in options.case.split(":"))
    outcome = examine(draw(seed, number), limit=options.limit, with_reference=True)
    return _report([outcome], outcome.seconds, options)


if __name__ == "__main__":
    sys.exit(main())
