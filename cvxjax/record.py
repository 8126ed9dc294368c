"""The base of every record: a frozen dataclass that JAX sees as a tree of its fields.

Its class is part of the tree's structure. jaxlib compares structures of classes that
are registered as dataclasses, `flax.struct`'s among them, without their type, and then
runs the code that `jit` compiled for one class on another.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Self, dataclass_transform

import jax

_STATIC = "static"


def static(**options: Any) -> Any:
    """A field that is part of the tree's structure: hashable, and never traced.

    Args:
      options: keywords of `dataclasses.field`, such as `default=`.
    """
    return dataclasses.field(metadata={_STATIC: True}, **options)


# Not frozen_default: the contracts in `interfaces` are Protocols, whose attributes type
# checkers take for writable ones.
@dataclass_transform(kw_only_default=True, field_specifiers=(static, dataclasses.field))
class Record:
    """Subclasses declare fields, as dataclasses do; arguments go by keyword.

    Fields made by `static` belong to the tree's structure, all others are its children.
    Nothing may be validated in `__post_init__`: JAX rebuilds records with tracers and
    with None.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        dataclasses.dataclass(frozen=True, kw_only=True)(cls)
        fields = dataclasses.fields(cls)  # type: ignore[arg-type]
        fixed = tuple(f.name for f in fields if _STATIC in f.metadata)
        names = tuple(f.name for f in fields if f.name not in fixed)
        keys = tuple(map(jax.tree_util.GetAttrKey, names))

        def flatten(record: Any) -> tuple[tuple, tuple]:
            values = record.__dict__
            return tuple(values[k] for k in names), tuple(values[k] for k in fixed)

        def flatten_with_keys(record: Any) -> tuple[tuple, tuple]:
            children, settings = flatten(record)
            return tuple(zip(keys, children, strict=True)), settings

        def unflatten(settings: tuple, children: Any) -> Any:
            record = object.__new__(cls)
            record.__dict__.update(zip(names, children, strict=True))
            record.__dict__.update(zip(fixed, settings, strict=True))
            return record

        jax.tree_util.register_pytree_with_keys(
            cls, flatten_with_keys, unflatten, flatten
        )

    def replace(self, **changes: Any) -> Self:
        """The same record with some fields changed."""
        return dataclasses.replace(self, **changes)  # type: ignore[type-var]
