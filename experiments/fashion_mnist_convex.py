"""SGD on the convex program beside SGD on the ReLU network, Fashion-MNIST.

    python -m experiments.fashion_mnist_convex --data_dir=FOLDER
    python -m experiments.fashion_mnist_convex --data_dir=FOLDER --full

Without flags about 8 minutes on two CPU cores: the first 20,000 images, 128 patterns.
--full has all 60,000 images and the settings that the authors used for CIFAR-10, but
learning rates that fit these images' covariance, 2.5 times as large; it is meant for
one GPU. Images come from --data_dir or CVXJAX_DATA, else they are downloaded.

As `cifar10_convex_sgd`, which says what is compared and shown.

Expect all curves within a few points of each other in test accuracy, but for the ReLU
network with the convex model's weights, which gets worse as that is trained (0.44).

Source: the talk names Fashion-MNIST for convex training by SGD; settings and numbers
are not known.
"""

from __future__ import annotations

import dataclasses
from typing import Literal, Self

import numpy as np

from experiments._convex_sgd.claims import claims
from experiments._convex_sgd.drawing import plot
from experiments._convex_sgd.run import run_curves
from experiments._convex_sgd.settings import Settings
from experiments._frame import launch
from experiments._parts import images

MINUTES = 8
STAND_INS = {"digits": "scikit-learn's digits, in place of Fashion-MNIST"}

__all__ = ["Config", "claims", "plot", "run"]


@dataclasses.dataclass(frozen=True)
class Config(Settings):
    data: Literal["fashion_mnist", "digits"] = "fashion_mnist"
    num_train: int = 20_000
    learning_rates: tuple[float, ...] = (8e-5, 4e-5)
    sgd_epochs: int = 200

    @classmethod
    def full(cls) -> Self:
        return dataclasses.replace(
            super().full(), num_train=60_000, learning_rates=(2.5e-6, 1.25e-6)
        )


def reads(config: Config) -> tuple[str, ...]:
    return images.reads(config.data)


def run(config: Config) -> dict[str, np.ndarray]:
    return run_curves("fashion_mnist_convex", config)


if __name__ == "__main__":
    launch.main(__name__)
