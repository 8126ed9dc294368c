"""What the experiments that run SGD on convex programs share: settings and curves."""

from __future__ import annotations

import dataclasses
from typing import Literal, NamedTuple, Self

Kind = Literal["gaussian", "convolutional", "cones", "sgd"]


@dataclasses.dataclass(frozen=True)
class Settings:
    """Settings of one comparison; experiments give the defaults that they need."""

    data: Literal["cifar10", "cifar100", "fashion_mnist", "digits"] = "digits"
    data_dir: str = ""  # folder with the images; else CVXJAX_DATA, else a download
    num_train: int = 10_000  # the first images of the set
    num_patterns: int = 128  # P of the convex programs
    num_neurons: int = 128  # m of the non-convex network
    beta: float = 1e-6  # weight decay per row: n times this is that of their sum
    cone_weight: float = 1e-2  # rho, of the penalty of blocks summed over classes
    class_cone_weight: float = 0.5  # rho of one more curve, of every class; 0: without
    learning_rates: tuple[float, ...] = (3e-5, 1.5e-5)  # of the convex programs
    proximal: bool = True  # proximal steps; else subgradients, as the authors take
    plateau: float = 1.0  # factor of these rates after 10 epochs without progress
    sgd_rates: tuple[float, ...] = (1e-2, 5e-3, 1e-3)  # of the non-convex network
    momentum: float = 0.9
    batch_size: int = 1_000
    epochs: int = 30  # of the convex programs
    sgd_epochs: int = 300  # of the network, whose steps take less time
    records: int = 15  # of each curve, at most, after its start
    bf16: bool = False  # products of bfloat16 factors, sums in float32
    samples_axis: int = 1  # devices among which rows are divided; the others: patterns
    checkpoint_dir: str = ""  # folder to go on from after a kill; empty: none
    checkpoint_seconds: float = 180.0  # between checkpoints
    seed: int = 42

    @classmethod
    def smoke(cls) -> Self:
        """Tiny settings, in seconds, on digits that come with scikit-learn."""
        return cls(
            data="digits",
            num_train=200,
            num_patterns=8,
            num_neurons=8,
            class_cone_weight=0.1,
            learning_rates=(1e-2,),
            sgd_rates=(1e-2,),
            batch_size=50,
            epochs=4,
            sgd_epochs=8,
            records=3,
        )

    @classmethod
    def full(cls) -> Self:
        """The authors' settings, for one GPU of 80 GB."""
        return cls(
            num_train=50_000,
            num_patterns=4_096,
            num_neurons=4_096,
            class_cone_weight=0.0,
            learning_rates=(1e-6, 5e-7),
            proximal=False,
            plateau=0.5,
            batch_size=1_000,
            epochs=100,
            sgd_epochs=100,
            records=25,
        )


class Curve(NamedTuple):
    """One run: of a convex program with gates of a kind, or of the network."""

    kind: Kind
    rate: float

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.rate:g}"

    @property
    def convex(self) -> bool:
        return self.kind != "sgd"


def curves_of(config: Settings) -> list[Curve]:
    """Every run, convex programs first.

    That with the cones of every class has convolutional gates and the smallest rate.
    """
    rates = config.learning_rates
    found = [Curve("gaussian", rate) for rate in rates]
    found += [Curve("convolutional", rate) for rate in rates]
    if config.class_cone_weight > 0:
        found.append(Curve("cones", min(rates)))
    return found + [Curve("sgd", rate) for rate in config.sgd_rates]


def marks_of(epochs: int, records: int) -> list[int]:
    """The epochs after which a curve is measured: 0, the first few, evenly, the last.

    At most `records` without 0.
    """
    if epochs <= records:
        return list(range(epochs + 1))
    first = min(5, records - 1)
    rest = records - first
    later = [first + round((epochs - first) * k / rest) for k in range(1, rest + 1)]
    return [*range(first + 1), *later]
