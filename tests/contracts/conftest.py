"""Every program, and every pair of a program and a solver that takes it.

The fixtures live for the session, so that the tests of one solution run together.
"""

import functools

import pytest

import cvxjax as cj
from tests import instances


class Solved:
    """A program, its solution and its certificate; solved when first asked."""

    def __init__(self, name, solver):
        self.name, self.solver = name, instances.SOLVERS[solver].solver
        self.program = instances.program_of(name)
        self.reference = instances.reference_of(name)
        self._key = name, solver

    @property
    def solution(self):
        return instances.solution_of(*self._key)

    @property
    def certificate(self):
        return instances.certificate_of(*self._key)

    @property
    def optimum(self):
        return instances.optimum_of(self.name)

    def at(self, beta):
        """The solution at another weight decay; nothing compiles for it."""
        return cj.solve(
            self.program.replace(beta=0 * self.program.beta + beta), self.solver
        )


@functools.cache
def _solved(name, solver):
    return Solved(name, solver)


@pytest.fixture(scope="session", params=instances.PROGRAMS)
def name(request):
    return request.param


@pytest.fixture(scope="session")
def program(name):
    return instances.program_of(name)


@pytest.fixture(scope="session")
def reference(name):
    return instances.reference_of(name)


_EVERY_PAIR = [
    pytest.param(
        pair,
        id="-".join(pair),
        marks=() if pair in instances.COVERING else pytest.mark.full,
    )
    for pair in instances.PAIRS
]


@pytest.fixture(scope="session", params=_EVERY_PAIR)
def solved(request):
    return _solved(*request.param)
