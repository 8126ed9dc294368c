"""What an experiment leaves behind: arrays, pictures, provenance, finished parts.

Every file is written by `cvxjax.saving.files`, so a killed run leaves no half-written
one.
"""

from __future__ import annotations

import contextlib
import contextvars
import dataclasses
import datetime
import enum
import functools
import hashlib
import importlib.metadata
import json
import math
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePath
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib.figure
import numpy as np

from cvxjax.saving.files import atomic, read_arrays, write_arrays

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("cvxjax", "jax", "jaxlib", "flax", "optax", "numpy", "scipy", "matplotlib")


class Verdict(enum.Enum):
    """How a claim of the source fared."""

    REPRODUCED = "reproduced"
    CORRECTED = "reproduced with correction"
    NOT_REPRODUCED = "not reproduced"
    UNCHECKABLE = "cannot be checked"
    UNJUDGED = "not judged"  # of smoke settings

    @classmethod
    def of(cls, holds: Any, *, corrected: bool = False) -> Verdict:
        """Of a claim that holds, if need be with a correction, or does not."""
        if not holds:
            return cls.NOT_REPRODUCED
        return cls.CORRECTED if corrected else cls.REPRODUCED


@dataclasses.dataclass(frozen=True)
class Claim:
    """A claim of the source, beside what was measured here."""

    claim: str
    measured: str
    verdict: Verdict


def save(
    out: Path,
    name: str,
    arrays: Mapping[str, Any],
    figure: matplotlib.figure.Figure,
    provenance: Mapping[str, Any],
) -> list[Path]:
    """Writes NAME.png, NAME.pdf, data/NAME.npz and data/NAME.json in the folder `out`.

    The json comes last, so it speaks of files that are there.

    Returns:
      The paths of the pictures, then of the data.
    """
    paths = paths_of(out, name)
    write_arrays(paths[2], arrays)
    save_pictures(out, name, figure)
    write_record(paths[3], provenance)
    return paths


def paths_of(out: Path, name: str) -> list[Path]:
    """NAME.png, NAME.pdf, data/NAME.npz and data/NAME.json in the folder `out`."""
    pictures = [out / f"{name}.{ending}" for ending in ("png", "pdf")]
    return pictures + [out / "data" / f"{name}.{ending}" for ending in ("npz", "json")]


def save_pictures(out: Path, name: str, figure: matplotlib.figure.Figure) -> None:
    """Writes NAME.png and NAME.pdf."""
    png, pdf, *_ = paths_of(out, name)
    with atomic(png) as file:
        figure.savefig(file, format="png")
    with atomic(pdf) as file:  # without its date, equal data give equal files
        figure.savefig(file, format="pdf", metadata={"CreationDate": None})


def write_record(path: Path, provenance: Mapping[str, Any]) -> None:
    """Writes the json."""
    with atomic(path) as file:
        text = json.dumps(provenance, indent=2, ensure_ascii=False, allow_nan=False)
        file.write(text.encode() + b"\n")


def git_state() -> dict[str, Any]:
    """{"commit", "dirty"} of this checkout; both None outside one.

    Figures do not count: the first of several experiments would make the tree dirty for
    the second.
    """
    outside = {"commit": None, "dirty": None}
    top = _git("rev-parse", "--show-toplevel")
    commit = _git("rev-parse", "--verify", "HEAD")
    changes = _git("status", "--porcelain", "--", ".", ":(exclude)figures")
    if top is None or commit is None or changes is None or Path(top).resolve() != ROOT:
        return outside
    return {"commit": commit, "dirty": bool(changes)}


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def portable(value: Any) -> Any:
    """`value` as JSON that names no place on this machine: paths lose their folders."""
    if isinstance(value, enum.Enum):
        return portable(value.value)
    if isinstance(value, PurePath) or (isinstance(value, str) and os.path.isabs(value)):
        return PurePath(value).name
    if isinstance(value, Mapping):
        return {str(key): portable(entry) for key, entry in value.items()}
    if isinstance(value, (tuple, list)):
        return [portable(entry) for entry in value]
    if isinstance(value, (np.generic, np.ndarray, jax.Array)):
        return portable(np.asarray(value).tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def make_provenance(
    name: str,
    config: Any,
    claims: list[Claim],
    *,
    title: str,
    command: str,
    git: Mapping[str, Any],
    run_seconds: float,
    compile_seconds: float | None = None,
    resumed: bool = False,
    smoke: bool = False,
) -> dict[str, Any]:
    """Everything needed to run it again and to judge it, as plain JSON.

    Args:
      name: the experiment.
      config: its dataclass.
      claims: with their verdicts.
      title: one line.
      command: what to type.
      git: from `git_state`, taken before the run.
      run_seconds: wall-clock seconds of `run`, compilation included.
      compile_seconds: of these, if the experiment measured them.
      resumed: finished parts of an earlier run were used, so `run_seconds` is short.
      smoke: with tiny settings.
    """
    now = datetime.datetime.now(datetime.UTC)
    device = jax.devices()[0]
    return {
        "name": name,
        "title": title,
        "command": command,
        "config": portable(_without_folder(dataclasses.asdict(config))),
        "seed": getattr(config, "seed", None),
        "dtype": str(jnp.result_type(float)),
        **git,
        "date_utc": now.isoformat(timespec="seconds"),
        "run_seconds": round(run_seconds, 3),
        "compile_seconds": portable(compile_seconds),
        "resumed": resumed,
        "smoke": smoke,
        "device": device.device_kind,
        "devices": jax.device_count(),
        "platform": device.platform,
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "versions": {package: _version(package) for package in PACKAGES},
        "claims": [portable(dataclasses.asdict(claim)) for claim in claims],
    }


def _without_folder(settings: dict[str, Any]) -> dict[str, Any]:
    """The same, but for the folder of the user's data, which is DIR."""
    named = {name: "DIR" for name in ("data_dir",) if settings.get(name)}
    return settings | named


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


_parts: contextvars.ContextVar[tuple[Path, list[Resumable]] | None] = (
    contextvars.ContextVar("_parts", default=None)
)


@contextlib.contextmanager
def parts_in(folder: Path) -> Iterator[list[Resumable]]:
    """`resumable` stores its parts in `folder` inside the block; nowhere outside one.

    Yields:
      What `resumable` hands out inside the block.
    """
    made: list[Resumable] = []
    token = _parts.set((folder, made))
    try:
        yield made
    finally:
        _parts.reset(token)


def stream_path(name: str, extension: str) -> Path | None:
    """Where experiment `name` may write as it runs, beside its arrays.

    None outside a launcher, which knows the folder.
    """
    inside = _parts.get()
    return None if inside is None else inside[0] / "data" / f"{name}{extension}"


class Resumable:
    """Finished parts of a long run, on disk, so that a killed one can go on.

    Parts belong to one configuration, one precision and backend, and one state of the
    code: change any of them and the run starts afresh. Outside a launcher it stores
    nothing.
    """

    def __init__(self, folder: Path | None):
        self.folder = folder
        self.hits = 0

    def get(self, key: str) -> dict[str, np.ndarray] | None:
        """The arrays stored under `key`, or None."""
        path = self._path(key)
        if path is None or not path.exists():
            return None
        self.hits += 1
        return read_arrays(path)

    def put(self, key: str, arrays: Mapping[str, Any]) -> None:
        """Stores the arrays of one finished part."""
        path = self._path(key)
        if path is not None:
            write_arrays(path, arrays)

    def part(
        self, key: str, compute: Callable[[], Mapping[str, Any]]
    ) -> dict[str, np.ndarray]:
        """The stored arrays, or those of `compute()`, stored."""
        stored = self.get(key)
        if stored is None:
            stored = {name: np.asarray(value) for name, value in compute().items()}
            self.put(key, stored)
        return stored

    def count(self) -> int:
        """How many parts are stored."""
        return 0 if self.folder is None else len(list(self.folder.glob("*.npz")))

    def clear(self) -> None:
        """Forgets every part."""
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)
            with contextlib.suppress(OSError):
                self.folder.parent.rmdir()

    def _path(self, key: str) -> Path | None:
        if not re.fullmatch(r"[\w.=+-]+", key):
            raise ValueError(
                f"want a key of letters, digits and . = + - _; got {key!r}"
            )
        return None if self.folder is None else self.folder / f"{key}.npz"


def resumable(name: str, config: Any) -> Resumable:
    """The parts of experiment `name` under `config`, in OUT/.partial/NAME-HASH."""
    inside = _parts.get()
    if inside is None:
        return Resumable(None)
    folder, made = inside
    dtype = str(jnp.result_type(float))
    state = (config, dtype, jax.default_backend(), _code_hash(name))
    digest = hashlib.sha256(repr(state).encode()).hexdigest()[:16]
    made.append(Resumable(folder / ".partial" / f"{name}-{digest}"))
    return made[-1]


@functools.cache
def _code_hash(name: str) -> str:
    """Of the library and of one experiment."""
    digest = hashlib.sha256()
    files = [*sorted((ROOT / "cvxjax").rglob("*.py")), ROOT / f"experiments/{name}.py"]
    for file in files:
        if file.exists():
            digest.update(file.read_bytes())
    return digest.hexdigest()
