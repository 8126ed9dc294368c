"""What the runs of SGD on convex programs say of the claims of the talk."""

from __future__ import annotations

import numpy as np

from experiments._frame.record import Claim, Verdict

AUTHORS = ("gaussian", "convolutional")  # kinds of curves that the talk shows
_SAME = 1.05  # times the convex objective: where the network counts as the same
_MOST_TIMES = 0.9  # share of times from which on a curve is above throughout


def claims(arrays: dict[str, np.ndarray]) -> list[Claim]:
    return [
        _training_claim(arrays),
        _test_claim(arrays),
        _gates_claim(arrays),
        _objective_claim(arrays),
        _network_claim(arrays),
    ]


def last(arrays: dict[str, np.ndarray], name: str) -> np.ndarray:
    """The last record of a column in every curve, [C]; NaN where it diverged."""
    made = np.sum(np.isfinite(arrays["epoch"]), axis=1)
    values = arrays[name][np.arange(len(made)), made - 1]
    ends = arrays["objective"][np.arange(len(made)), made - 1]
    return np.where(np.isfinite(ends), values, np.nan)


def of_kinds(arrays: dict[str, np.ndarray], *kinds: str) -> np.ndarray:
    """The positions of curves of these kinds."""
    return np.flatnonzero(np.isin(arrays["kind"], kinds))


def best(
    arrays: dict[str, np.ndarray], name: str, kinds: tuple[str, ...], *, lowest=False
) -> int:
    """The curve of these kinds that ends highest, or lowest, in a column."""
    rows = of_kinds(arrays, *kinds)
    ends = last(arrays, name)[rows] * (-1 if lowest else 1)
    return int(rows[np.argmax(np.nan_to_num(ends, nan=-np.inf))])


def _training_claim(arrays: dict[str, np.ndarray]) -> Claim:
    ends = [
        np.max(last(arrays, "seconds")[of_kinds(arrays, *kinds)], initial=0.0)
        for kinds in (AUTHORS, ("sgd",))
    ]
    end = min(ends)
    times = end * np.arange(1, 201) / 200
    ours, theirs = (
        _highest(arrays, times, kinds, "train_accuracy")
        for kinds in (AUTHORS, ("sgd",))
    )
    share = float(np.mean(ours > theirs))
    return Claim(
        "SGD on the convex program has the higher training accuracy at equal time",
        f"best of its curves above the best of SGD's at {share:.0%} of the times up to "
        f"{end:.0f} s, then {ours[-1]:.3f} against {theirs[-1]:.3f}; they end at "
        f"{_end(arrays, 'train_accuracy', AUTHORS)} after {ends[0]:.0f} s and "
        f"{_end(arrays, 'train_accuracy', ('sgd',))} after {ends[1]:.0f} s",
        Verdict.of(ours[-1] > theirs[-1], corrected=share < _MOST_TIMES),
    )


def _highest(
    arrays: dict[str, np.ndarray], times: np.ndarray, kinds: tuple[str, ...], name: str
) -> np.ndarray:
    """The highest of the curves at each time, between records on a line."""
    curves = []
    for row in of_kinds(arrays, *kinds):
        made = np.isfinite(arrays["objective"][row])
        seconds, values = arrays["seconds"][row][made], arrays[name][row][made]
        curves.append(np.interp(times, seconds, values))
    return np.max(curves, axis=0)


def _end(arrays: dict[str, np.ndarray], name: str, kinds: tuple[str, ...]) -> str:
    row = best(arrays, name, kinds)
    return f"{last(arrays, name)[row]:.3f} ({arrays['curve'][row]})"


def _error(arrays: dict[str, np.ndarray], row: int) -> float:
    """The standard error of the difference of two such test accuracies, at most."""
    share = last(arrays, "test_accuracy")[row]
    return float(np.sqrt(2 * share * (1 - share) / arrays["num_test"]))


def _test_claim(arrays: dict[str, np.ndarray]) -> Claim:
    ours, theirs = (best(arrays, "test_accuracy", k) for k in (AUTHORS, ("sgd",)))
    ends, error = last(arrays, "test_accuracy"), _error(arrays, ours)
    more = ends[ours] - ends[theirs]
    peaks = [
        np.nanmax(arrays["test_accuracy"][of_kinds(arrays, *kinds)])
        for kinds in (AUTHORS, ("sgd",))
    ]
    ratio = arrays["parameters"][ours] / arrays["parameters"][theirs]
    network = last(arrays, "network_test_accuracy")[ours]
    return Claim(
        "its test accuracy is higher, by 1 to 4 points",
        f"{100 * more:+.1f} points (standard error {100 * error:.1f}): "
        f"{_end(arrays, 'test_accuracy', AUTHORS)} against "
        f"{_end(arrays, 'test_accuracy', ('sgd',))}; highest on the way {peaks[0]:.3f} "
        f"and {peaks[1]:.3f}. The convex model has {ratio:.0f} times the parameters; "
        f"the ReLU network with its weights has {network:.3f}",
        Verdict.of(more > error, corrected=not 0.01 <= more <= 0.04),
    )


def _gates_claim(arrays: dict[str, np.ndarray]) -> Claim:
    rows = [best(arrays, "test_accuracy", (kind,)) for kind in AUTHORS]
    ends = last(arrays, "test_accuracy")
    more, error = ends[rows[1]] - ends[rows[0]], _error(arrays, rows[1])
    return Claim(
        "gates of random filters predict better than Gaussian ones",
        f"{100 * more:+.1f} points (standard error {100 * error:.1f}): "
        f"{ends[rows[1]]:.3f} against {ends[rows[0]]:.3f} at the end",
        Verdict.of(more > error),
    )


def _objective_claim(arrays: dict[str, np.ndarray]) -> Claim:
    ours, theirs = (
        best(arrays, "objective", kinds, lowest=True) for kinds in (AUTHORS, ("sgd",))
    )
    ends = last(arrays, "objective")
    network = last(arrays, "network_objective")[ours]
    return Claim(
        "its objective ends lower than that of SGD on the network",
        f"{ends[ours]:.4f} ({arrays['curve'][ours]}) against {ends[theirs]:.4f} "
        f"({arrays['curve'][theirs]}), per row; but it is the gated model's, and the "
        f"ReLU network with the same weights has {network:.4f}",
        Verdict.of(ends[ours] < ends[theirs], corrected=network >= ends[theirs]),
    )


def _network_claim(arrays: dict[str, np.ndarray]) -> Claim:
    row = best(arrays, "objective", AUTHORS, lowest=True)
    same, text = _compared(arrays, row)
    each = of_kinds(arrays, "cones")
    held = False
    if len(each):
        held, more = _compared(arrays, int(each[0]))
        text += f"; with the cones of every class penalised instead, {more}"
    return Claim(
        "the convex program that is trained is the ReLU network",
        text,
        Verdict.of(same or held, corrected=not same),
    )


def _compared(arrays: dict[str, np.ndarray], row: int) -> tuple[bool, str]:
    """Whether a curve's network has its objective, and both in words."""
    names = ("objective", "network_objective", "violation", "test_accuracy")
    ends = {name: last(arrays, name)[row] for name in names}
    test = last(arrays, "network_test_accuracy")[row]
    text = (
        f"objective {ends['objective']:.4f}, that of the network with the same weights "
        f"{ends['network_objective']:.4f}; {ends['violation']:.0%} of sum |x w| is on "
        f"the wrong side; test accuracy {ends['test_accuracy']:.3f} and {test:.3f}"
    )
    return bool(ends["network_objective"] <= _SAME * ends["objective"]), text
