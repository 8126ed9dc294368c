"""Who imports whom, what an architecture must bring, and no global state."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import cvxjax
from cvxjax import programs
from tests import instances

ROOT = Path(cvxjax.__file__).parent
REPOSITORY = Path(__file__).parents[2]

# From below: a room knows rooms of earlier floors, never one beside it or above.
FLOORS = [
    {"record", "verdicts", "saving", "data"},
    {"algebra", "watch"},
    {"solution"},
    {"interfaces", "terms"},
    {"arrangements", "bounds", "devices"},
    {"judges", "recovery"},
    {"forms", "networks"},
    {"programs", "solvers", "certificates"},
    {"returned"},
    {"solving"},
    {"estimators", "stages"},
    {"command_line"},
    {"__init__", "__main__"},
]
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
APART = {("solvers", "networks")}  # though the floors would let them


def room_of(path):
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports_of(path, at_run_time=False):
    """Full names of the modules that a file imports, anywhere in it.

    At run time: without what only type checkers import.
    """
    tree, names = ast.parse(path.read_text()), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = [ast.Pass()] if at_run_time else node.body
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
            names.add(node.module)
    return names


def rooms_imported(path):
    """Rooms of cvxjax that a file imports."""
    names = [name.split(".") for name in imports_of(path)]
    rooms = {n[1] for n in names if n[0] == "cvxjax" and len(n) > 1}
    known = {room_of(p) for p in ROOT.rglob("*.py")}
    return rooms & known


FILES = sorted(ROOT.rglob("*.py"))


def test_every_room_has_a_floor_and_the_hall_is_small():
    assert {room_of(path) for path in FILES} == set(FLOOR)
    assert len(list(ROOT.glob("*.py"))) <= 12


def test_figures_alone_lie_at_the_root_of_experiments():
    for path in (REPOSITORY / "experiments").glob("*.py"):
        module = ast.parse(path.read_text()).body
        names = {node.name for node in module if isinstance(node, ast.FunctionDef)}
        names |= {name.rpartition(".")[2] for name in imports_of(path)}
        assert path.stem.startswith("__") or {"run", "plot", "claims"} <= names, path


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_import_directions(path):
    room = room_of(path)
    for other in rooms_imported(path) - {room}:
        assert FLOOR[other] < FLOOR[room], f"{room} imports {other}"
        assert (room, other) not in APART
    roots = {name.split(".")[0] for name in imports_of(path)}
    assert not roots & {"experiments", "tests"}


JUDGES = sorted((ROOT / "judges").glob("[!_]*.py"))
SOLVING = {"solvers", "solve", "terms", "record"}


def file_of(name):
    """The file of a module of the library, or None."""
    path = ROOT.parent / Path(*name.split("."))
    for found in (path.with_suffix(".py"), path / "__init__.py"):
        if found.is_file() and found != ROOT / "__init__.py":
            return found
    return None


@pytest.mark.parametrize(
    "path", [*JUDGES, ROOT / "certificates.py"], ids=lambda p: p.stem
)
def test_judges_do_without_jax_and_solvers(path):
    """The certificate's own arithmetic, and that of all that it imports in turn."""
    seen, left = set(), {path}
    while left:
        path = left.pop()
        seen.add(path)
        names = imports_of(path, at_run_time=True)
        roots = {name.split(".")[0] for name in names}
        assert not roots & {"jax", "jaxlib", "flax", "optax"}, path
        assert room_of(path) not in SOLVING, path
        left |= {found for name in names if (found := file_of(name))} - seen
    assert len(seen) > 1


def test_every_judge_of_a_program_is_tested_for_its_independence(program):
    from cvxjax.interfaces import Judge

    judge = program.judge()
    assert isinstance(judge, Judge)
    assert ROOT.parent / (type(judge).__module__.replace(".", "/") + ".py") in JUDGES


def test_no_experiment_is_imported_by_tests_of_the_library():
    for path in (REPOSITORY / "tests").rglob("*.py"):
        if "experiments" not in path.parts:
            roots = {name.split(".")[0] for name in imports_of(path)}
            assert "experiments" not in roots, path


IMPORT = """
import jax
before = dict(jax.config.values)
import os
environment = dict(os.environ)
import cvxjax
for name in dir(cvxjax):  # all that is imported when it is asked for
    getattr(cvxjax, name)
changed = {k for k, v in jax.config.values.items() if before.get(k, v) != v}
assert not changed, changed
assert dict(os.environ) == environment
from jax._src import xla_bridge
assert not xla_bridge.backends_are_initialized()
"""


def test_importing_the_package_imports_nothing_heavy():
    script = "import sys, cvxjax.__main__; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0


def test_rooms_are_there_once_something_is_asked_for():
    script = "import cvxjax as cj; cj.solve, cj.terms.losses, cj.solvers.choice"
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        cvxjax.nothing  # noqa: B018


def test_importing_changes_no_global_state():
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", IMPORT], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr


STEMS = sorted(programs.REGISTRY)


@pytest.mark.parametrize("stem", STEMS)
def test_an_architecture_brings_its_five_additions(stem):
    assert (ROOT / "programs" / f"{stem}.py").is_file()
    assert (ROOT / "networks" / f"{stem}.py").is_file()
    assert programs.REGISTRY[stem] is getattr(programs, f"make_{stem}")
    assert any(name.split("/")[0] == stem for name in instances.PROGRAMS)
    assert stem in instances.REFERENCES
    modules = (REPOSITORY / "experiments").glob("[!_]*.py")
    maker = re.compile(rf"\bmake_{stem}\b")
    assert any(maker.search(path.read_text()) for path in modules), "no experiment"


def test_every_program_is_registered():
    files = {p.stem for p in (ROOT / "programs").glob("*.py")} - {"__init__"}
    assert files == set(programs.REGISTRY)


def test_every_instance_belongs_to_a_registered_program():
    stems = {name.split("/")[0] for name in instances.PROGRAMS}
    assert stems == set(programs.REGISTRY)


def test_every_solver_has_an_instance():
    assert set(cvxjax.solvers.__all__) == set(instances.SOLVERS)
    for name, case in instances.SOLVERS.items():
        assert type(case.solver).__name__ == name


def test_public_names_exist():
    for name in cvxjax.__all__:
        assert hasattr(cvxjax, name)
