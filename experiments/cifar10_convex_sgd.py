"""SGD on the convex program beside SGD on the ReLU network, CIFAR-10.

    python -m experiments.cifar10_convex_sgd --data_dir=FOLDER
    python -m experiments.cifar10_convex_sgd --data_dir=FOLDER --full

Without flags about 15 minutes on two CPU cores: the first 10,000 images, 128 patterns.
--full has the authors' settings, 50,000 images, 4,096 patterns, 252 million weights in
each program, 100 epochs, and is meant for one GPU. Images come from --data_dir or
CVXJAX_DATA, else they are downloaded.

A two-layer ReLU network of ten outputs is trained in two ways. The convex program takes
the activation patterns of random gates, Gaussian ones or 3 x 3 filters at random
places, and starts at zero; SGD with momentum follows minibatches of it, with a hinge
penalty for its cones. The network itself is trained by SGD on the same batches. Curves
stream to OUT/data/cifar10_convex_sgd.csv. With --checkpoint_dir a run that is killed
goes on where it was.

The authors penalise the cones of each block's sum over classes, which leaves no block
in its cone. So three things are shown, none for another: the objective of the convex
model, the share of its weights' products on the wrong side of the cones, and the
objective of the ReLU network with the same weights. One more curve has the cones of
every class.

Expect the convex model to end at the lower objective and to predict better, with 20
times the parameters, and the ReLU network with the same weights to be far behind it.
With the cones of every class both are nearly the same, and above the objective of SGD.
With 4,000 images, 32 patterns and 15 epochs (100 of SGD): objective 0.172, of the
network with these weights 0.363, with the cones of every class 0.319 and 0.325, SGD
0.187; test accuracy 0.401, 0.374, 0.364 and 0.367, SGD 0.358.

Source: the talk's slides on SGD for the convex program, after Pilanci & Ergen, Neural
networks are convex regularizers (ICML 2020) and the code with it.
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

MINUTES = 15
STAND_INS = {"digits": "scikit-learn's digits, in place of CIFAR-10"}

__all__ = ["Config", "claims", "plot", "run"]


@dataclasses.dataclass(frozen=True)
class Config(Settings):
    data: Literal["cifar10", "digits"] = "cifar10"


def reads(config: Config) -> tuple[str, ...]:
    return images.reads(config.data)


def run(config: Config) -> dict[str, np.ndarray]:
    return run_curves("cifar10_convex_sgd", config)


if __name__ == "__main__":
    launch.main(__name__)
