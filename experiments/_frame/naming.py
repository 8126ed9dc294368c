"""What an experiment and its files are called, and what its data stand for."""

from __future__ import annotations

import ast
import types
from pathlib import Path
from typing import Any


def name_of(module: types.ModuleType) -> str:
    """The experiment's name, also when its module runs as __main__."""
    if module.__spec__ is not None:
        return module.__spec__.name.rpartition(".")[2]
    file = getattr(module, "__file__", None)
    return Path(file).stem if file else module.__name__.rpartition(".")[2]


def title_of(module: types.ModuleType) -> str:
    """The first line of the module's docstring."""
    return (module.__doc__ or name_of(module)).strip().splitlines()[0]


def outline(path: Path) -> tuple[str, float | None]:
    """An experiment's title and its MINUTES, read without importing it."""
    tree = ast.parse(path.read_text())
    minutes = None
    for node in tree.body:
        target = node.targets[0] if isinstance(node, ast.Assign) else None
        if isinstance(node, ast.AnnAssign):
            target = node.target
        if isinstance(target, ast.Name) and target.id == "MINUTES":
            minutes = float(ast.literal_eval(node.value))  # pyright: ignore
    return (ast.get_docstring(tree) or path.stem).splitlines()[0], minutes


def stand_in(module: types.ModuleType, config: Any) -> str | None:
    """What the data are and stand for, if they are not those of the source.

    An experiment lists such values of its field `data` in STAND_INS.
    """
    return getattr(module, "STAND_INS", {}).get(getattr(config, "data", None))


def shown_name(module: types.ModuleType, config: Any) -> str:
    """Of its files: NAME, or NAME-DATA where the data are stand-ins."""
    name = name_of(module)
    return f"{name}-{config.data}" if stand_in(module, config) else name


def shown_title(module: types.ModuleType, config: Any) -> str:
    """The first line of the module's docstring, and which stand-ins are shown."""
    title, instead = title_of(module), stand_in(module, config)
    return f"{title} Here on stand-in data: {instead}." if instead else title
