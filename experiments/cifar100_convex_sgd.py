"""SGD on the convex program beside SGD on the ReLU network, CIFAR-100.

    python -m experiments.cifar100_convex_sgd --data_dir=FOLDER
    python -m experiments.cifar100_convex_sgd --data_dir=FOLDER --full

Without flags about 16 minutes on two CPU cores: 9,000 images, 32 patterns, and more
neurons, 512, for each pattern has weights for a hundred outputs. --full has the
settings that the authors used for CIFAR-10, with 2.5 billion weights in each program,
and is meant for one GPU of 80 GB. Images come from --data_dir or CVXJAX_DATA, else they
are downloaded; a folder with the subset of 9,000 images wants --num_train=9000 beside
--full.

As `cifar10_convex_sgd`, which says what is compared and shown, with a hundred outputs.
SGD on the network diverges at twice its largest rate here.

Expect of the reduced run: the convex model ahead of SGD at every time, training
accuracy 0.95 against 0.82, test accuracy 0.153 against 0.121, with 12 times the
parameters. The ReLU network with the same weights has 0.106 in test and the objective
0.474, not 0.303; with the cones of every class penalised, both objectives are 0.43 and
test accuracy is 0.104.

Source: the talk's slide on SGD for the convex program, test accuracy on CIFAR-100; its
settings are not known.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np

from experiments._convex_sgd.claims import claims
from experiments._convex_sgd.drawing import plot
from experiments._convex_sgd.run import run_curves
from experiments._convex_sgd.settings import Settings
from experiments._frame import launch
from experiments._parts import images

MINUTES = 16
STAND_INS = {"digits": "scikit-learn's digits, in place of CIFAR-100"}

__all__ = ["Config", "claims", "plot", "run"]


@dataclasses.dataclass(frozen=True)
class Config(Settings):
    data: Literal["cifar100", "digits"] = "cifar100"
    num_train: int = 9_000
    num_patterns: int = 32
    num_neurons: int = 512
    learning_rates: tuple[float, ...] = (1.2e-4, 6e-5)
    batch_size: int = 500
    epochs: int = 15
    sgd_epochs: int = 100
    records: int = 8


def reads(config: Config) -> tuple[str, ...]:
    return images.reads(config.data)


def run(config: Config) -> dict[str, np.ndarray]:
    return run_curves("cifar100_convex_sgd", config)


if __name__ == "__main__":
    launch.main(__name__)
