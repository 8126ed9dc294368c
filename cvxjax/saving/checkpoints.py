"""Checkpoints, from which a killed run goes on with the same bits; arrays by Orbax.

A checkpoint is a folder with the number of its step as its name:

    120/arrays/        the arrays, as Orbax lays them out
    120/manifest.json  the run's identity; path, shape and dtype of every leaf
    120/SHA256SUMS     of all these files; `sha256sum -c SHA256SUMS` checks them too

It is written under another name, and renamed when it is complete.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import operator
import os
import re
import shutil
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils

from cvxjax.saving import files
from cvxjax.saving.leaves import (
    compare,
    describe,
    put_together,
    stored_arrays,
    take_apart,
)
from cvxjax.saving.preemption import Preemption, largest_of_all

_FORMAT = 1
_SUMS = "SHA256SUMS"
_STEP = re.compile(r"0|[1-9][0-9]*", re.ASCII)
_NOTHING, _NOT_ONE = -1, -2  # in place of a step: no checkpoints; none that is usable


class Checkpoints:
    """The last `keep` states of one run, in a folder.

        with (
            Checkpoints(folder, identity=repr(config), every_seconds=60) as saved,
            Preemption() as preemption,
        ):
            start, state = saved.restore(state) or (0, state)
            for step in range(start + 1, steps + 1):
                state = advance(state)
                saved.save_when_due(step, state, preemption)
            saved.save(steps, state)

    A state is any pytree of arrays of JAX or NumPy, typed keys, and Python's bool, int,
    float and str. It must have all that decides how the run goes on: parameters, the
    optimizer's state, the random key, the data's order. Key and order may be left out
    if they follow from the step, as by `fold_in(key, step)`.

    With several processes, each makes the same calls with the same steps. Arrays that
    span processes are written by all of them, in parts; every other leaf must be equal
    in all. All must see `folder`, and no two runs may share one.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        identity: str,
        keep: int = 3,
        every_steps: int | None = None,
        every_seconds: float | None = None,
    ):
        """Changes nothing on disk.

        Args:
          folder: on a POSIX file system; `save` makes it.
          identity: a text that two runs share only if one may go on from the other's
            state, such as all settings or a hash of them.
          keep: >= 1, how many of the last checkpoints to keep.
          every_steps: > 0, steps after which `save_when_due` saves again.
          every_seconds: > 0, seconds after which `save_when_due` saves again.

        Raises:
          ValueError: if a number is out of its range.
        """
        for name, number in (
            ("keep", keep),
            ("every_steps", every_steps),
            ("every_seconds", every_seconds),
        ):
            if number is not None and not number > 0:
                raise ValueError(f"want {name} > 0; got {number}")
        self._folder = Path(folder).absolute()
        self._identity = identity
        self._keep = keep
        self._every_steps, self._every_seconds = every_steps, every_seconds
        self._latest = _NOTHING
        self._clock = time.monotonic()
        with _quiet():
            self._orbax = ocp.Checkpointer(ocp.PyTreeCheckpointHandler())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None:
        self.close()

    def close(self) -> None:
        """Ends the background threads of Orbax."""
        self._orbax.close()

    def steps(self) -> list[int]:
        """The steps of all checkpoints on disk, damaged or not, in increasing order."""
        if not self._folder.is_dir():
            return []
        names = (path.name for path in self._folder.iterdir())
        return sorted(int(name) for name in names if _STEP.fullmatch(name))

    def save_when_due(
        self, step: int, state: Any, preemption: Preemption | None = None
    ) -> bool:
        """Saves if an interval has passed; after a signal, saves and exits.

        With several processes it takes milliseconds, as `Preemption.requested` does.

        Returns:
          Whether it saved.

        Raises:
          SystemExit: after a signal, with the code of `Preemption.exit`.
        """
        if preemption is not None and preemption.requested():
            self.save(step, state)
            preemption.exit()
        due = False
        if self._every_steps is not None:
            due = step - max(self._latest, 0) >= self._every_steps
        if self._every_seconds is not None:
            passed = time.monotonic() - self._clock >= self._every_seconds
            due |= largest_of_all(passed) > 0
        if due:
            self.save(step, state)
        return due

    def save(self, step: int, state: Any) -> None:
        """Writes `state`, and deletes the oldest checkpoints beyond `keep`.

        When it returns, all is on disk: the caller may overwrite or donate the state.
        A step that was saved or restored last is not written again. Newer checkpoints,
        which `restore` refused, are moved to a folder refused-*.

        Raises:
          TypeError: if a leaf is none of what a state may hold.
          ValueError: if the folder has checkpoints and `restore` was not called; if
            `step` is negative or before the last one; or if processes differ in a leaf
            that does not span them.
        """
        step = operator.index(step)
        if step < max(self._latest, 0):
            raise ValueError(f"want a step from {max(self._latest, 0)}; got {step}")
        if step == self._latest:
            return
        first = jax.process_index() == 0
        on_disk = self.steps() if first else []
        newest = largest_of_all(on_disk[-1] if on_disk else _NOTHING)
        if self._latest == _NOTHING != newest:
            raise ValueError(
                f"{self._folder} already holds step {newest}: restore it first, or "
                "save to another folder"
            )
        manifest, arrays = take_apart(state)
        manifest |= {"format": _FORMAT, "step": step, "identity": self._identity}
        _check_equal_in_all(manifest, arrays)
        part = self._folder / f".{step}.part"
        if first:
            self._clear(refused=[old for old in on_disk if old > self._latest])
            part.mkdir(parents=True)
        if arrays:
            with _quiet():
                self._orbax.save(part / "arrays", args=ocp.args.PyTreeSave(arrays))
        if first:
            with files.atomic(part / "manifest.json") as file:
                file.write(json.dumps(manifest, indent=1).encode())
            sums = _sums(part)
            with files.atomic(part / _SUMS) as file:
                file.write(sums)
            os.rename(part, self._folder / str(step))
            for old in self.steps()[: -self._keep]:
                self._delete(old)
        if jax.process_count() > 1:
            multihost_utils.sync_global_devices(f"cvxjax checkpoint {step}")
        self._latest, self._clock = step, time.monotonic()

    def _clear(self, refused: list[int]) -> None:
        """Removes incomplete checkpoints, and moves refused ones to another folder."""
        for part in self._folder.glob(".[0-9]*.part"):
            shutil.rmtree(part)
        if refused:
            aside = Path(tempfile.mkdtemp(prefix="refused-", dir=self._folder))
            for step in refused:
                os.rename(self._folder / str(step), aside / str(step))

    def _delete(self, step: int) -> None:
        """Deletes a checkpoint, renamed first so that no part of it looks like one."""
        part = self._folder / f".{step}.part"
        os.rename(self._folder / str(step), part)
        shutil.rmtree(part)

    def restore(self, like: Any) -> tuple[int, Any] | None:
        """Reads the newest checkpoint that is undamaged, of this run, and fits `like`.

        Newer ones that were refused are warned about, each with its reason.

        Args:
          like: a state, or the same with jax.ShapeDtypeStruct for arrays. Arrays get
            the sharding of those in `like`, or are NumPy arrays where those are.

        Returns:
          The step and the state; None if there is no checkpoint.

        Raises:
          TypeError: if a leaf of `like` is none of what a state may hold.
          ValueError: if there are checkpoints and all are refused, with the reasons.
        """
        wanted = describe(like)
        step, reasons = _NOT_ONE, []
        if jax.process_index() == 0:
            step, reasons = self._choose(wanted)
        step = largest_of_all(step)
        if step == _NOTHING:
            return None
        if step == _NOT_ONE:
            head = f"no checkpoint in {self._folder} can be used"
            raise ValueError("\n  ".join([head, *reasons]))
        for reason in reasons:
            warnings.warn(f"{self._folder}: {reason}; going back", stacklevel=2)
        state = self._read(step, like)
        self._latest, self._clock = step, time.monotonic()
        return step, state

    def _choose(self, wanted: dict[str, str]) -> tuple[int, list[str]]:
        """The newest step that `_check` accepts, and why it refused newer ones."""
        reasons = []
        for step in reversed(self.steps()):
            try:
                self._check(step, wanted)
                return step, reasons
            except (OSError, ValueError) as error:
                reasons.append(f"step {step} is refused: {error}")
        return _NOT_ONE if reasons else _NOTHING, reasons

    def _check(self, step: int, wanted: dict[str, str]) -> None:
        """Raises OSError or ValueError if the checkpoint is damaged or does not fit."""
        folder = self._folder / str(step)
        if not (folder / _SUMS).is_file():
            raise ValueError(f"it has no {_SUMS}: not a checkpoint, or damaged")
        stored, found = (folder / _SUMS).read_bytes(), _sums(folder)
        if stored != found:
            lines = set(stored.split(b"\n")) ^ set(found.split(b"\n"))
            names = sorted({line[66:].decode(errors="replace") for line in lines})
            names = [name for name in names if name] or [_SUMS]
            raise ValueError(f"damaged or missing: {', '.join(names)}")
        manifest = _manifest(folder)
        for name, want in (
            ("format", _FORMAT),
            ("step", step),
            ("identity", self._identity),
        ):
            if manifest[name] != want:
                raise ValueError(
                    f"want {name} {want!r:.200}; found {manifest[name]!r:.200}"
                )
        differences = compare(wanted, manifest["leaves"])
        if differences:
            raise ValueError(differences)

    def _read(self, step: int, like: Any) -> Any:
        folder = self._folder / str(step)
        manifest, arrays = _manifest(folder), {}
        targets = stored_arrays(manifest, like)
        if targets:
            restore_args = jax.tree.map(_restore_args, targets)
            args = ocp.args.PyTreeRestore(restore_args=restore_args)
            with _quiet():
                arrays = self._orbax.restore(folder / "arrays", args=args)
        return put_together(manifest, arrays, like)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hides the thirty lines that Orbax logs at each save, but no errors."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _manifest(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "manifest.json").read_bytes())


def _sums(folder: Path) -> bytes:
    """What `sha256sum` prints for all files in `folder` except SHA256SUMS."""
    lines = []
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path != folder / _SUMS:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            lines.append(f"{digest}  {path.relative_to(folder).as_posix()}\n")
    return "".join(lines).encode()


def _restore_args(leaf: Any) -> ocp.RestoreArgs:
    """How Orbax restores a leaf: as NumPy, unless it spans processes."""
    sharding = getattr(leaf, "sharding", None)
    if sharding is None or sharding.is_fully_addressable:
        return ocp.RestoreArgs(restore_type=np.ndarray)
    return ocp.ArrayRestoreArgs(sharding=sharding)


def _check_equal_in_all(manifest: dict[str, Any], arrays: dict[str, Any]) -> None:
    """Raises ValueError in all processes if they differ in what only one writes."""
    if jax.process_count() == 1:
        return
    digest = hashlib.sha256(json.dumps(manifest).encode())
    for array in arrays.values():
        if isinstance(array, np.ndarray):
            digest.update(array.tobytes())
    number = int.from_bytes(digest.digest()[:7])
    if largest_of_all(number) != -largest_of_all(-number):
        raise ValueError("processes differ in a leaf of the state that spans none")
