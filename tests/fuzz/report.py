"""Counts by kind, and the failures' snippets, as text."""

from __future__ import annotations

import collections

from tests.fuzz.oracles import Finding, Outcome

_SOFT = ("refused",)


def tally(outcomes: list[Outcome]) -> collections.Counter:
    """(family, solver, status or kind of failure) to how many."""
    counts: collections.Counter = collections.Counter()
    for outcome in outcomes:
        family = outcome.case.family
        for solver, status in outcome.statuses:
            counts[family, solver, status] += 1
        for finding in outcome.findings:
            if finding.kind not in _SOFT:
                counts[family, finding.solver or "-", finding.kind.upper()] += 1
    return counts


def failures(outcomes: list[Outcome]) -> list[tuple[Outcome, Finding]]:
    """Every finding that is a failure, case by case."""
    return [
        (outcome, finding)
        for outcome in outcomes
        for finding in outcome.findings
        if finding.kind not in _SOFT
    ]


def line(outcome: Outcome, finding: Finding) -> str:
    """One failure, as it is printed when it is found."""
    where = f"{outcome.case.name} {outcome.case.family}"
    return f"{finding.kind}: {where}, {finding.solver or '-'}: {finding.detail}"


def by_signature(
    outcomes: list[Outcome],
) -> dict[tuple[str, str, str], list[tuple[Outcome, Finding]]]:
    """Failures of one kind, family and solver, the most frequent first."""
    groups: dict[tuple[str, str, str], list] = {}
    for outcome, finding in failures(outcomes):
        key = finding.kind, outcome.case.family, finding.solver
        groups.setdefault(key, []).append((outcome, finding))
    order = sorted(groups, key=lambda key: (key[0], -len(groups[key]), key))
    return {key: groups[key] for key in order}


def summary(outcomes: list[Outcome], seconds: float) -> str:
    """The tables: programs a minute, families by status, kinds of failures."""
    counts = tally(outcomes)
    lines = ["", "family, solver: statuses and FAILURES"]
    rows: dict[tuple[str, str], list[str]] = {}
    for (family, solver, status), count in sorted(counts.items()):
        rows.setdefault((family, solver), []).append(f"{status} {count}")
    width = max((len(f"{f}, {s}") for f, s in rows), default=0)
    lines += [f"{f + ', ' + s:{width}}  {', '.join(x)}" for (f, s), x in rows.items()]
    refused = collections.Counter(
        finding.detail
        for outcome in outcomes
        for finding in outcome.findings
        if finding.kind == "refused"
    )
    if refused:
        lines += ["", "refused, with the message"]
        lines += [f"{count:5}  {text}" for text, count in refused.most_common(12)]
    kinds = collections.Counter(f.kind for _, f in failures(outcomes))
    statuses: collections.Counter = collections.Counter()
    unsolved: collections.Counter = collections.Counter()
    for (_, solver, status), count in counts.items():
        if status.isupper() and not any(status == k.upper() for k in kinds):
            statuses[status] += count
            if solver == "default":
                unsolved[status] += count
    lines += ["", f"statuses: {_counted(statuses)}"]
    lines.append(f"of the default solver: {_counted(unsolved)}")
    lines.append(f"failures: {_counted(kinds) or 'none'}")
    failed = sum(1 for o in outcomes if any(f.kind not in _SOFT for f in o.findings))
    pace = 60 * len(outcomes) / max(seconds, 1e-9)
    work = sum(outcome.seconds for outcome in outcomes)
    lines.append(
        f"{len(outcomes)} programs, {failed} of them with a failure, in "
        f"{seconds:.0f} s: {pace:.0f} a minute; {work:.0f} s of processors"
    )
    return "\n".join(lines)


def _counted(counter: collections.Counter) -> str:
    return ", ".join(f"{kind} {count}" for kind, count in counter.most_common())
