"""The flags of an experiment: one for each field of its Config, and the frame's own."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import math
import re
import types
import typing
from collections.abc import Sequence
from typing import Any

from absl import flags

from experiments._frame import record

_NO_HELP = "(no help available)"  # absl's word
DATA_DIR = "data_dir"  # the field with the folder of data sets
_FRAME = ("smoke", "redraw", "out", "help")
CODES = (
    "Exit codes: 0 done, 1 an experiment failed, 2 a flag, folder or data set is wrong "
    "and\nnothing was run, 130 interrupted."
)


class Wrong(Exception):  # noqa: N818 - the user's, and one line says what
    """A flag, folder or data set that is refused before any work."""

    def __init__(self, reason: object) -> None:
        super().__init__(" ".join(str(reason).split()))


@dataclasses.dataclass(frozen=True)
class Options:
    """What the flags ask for."""

    config: Any
    smoke: bool = False  # tiny settings, whose verdicts are not judged
    redraw: bool = False  # draw what is saved, and run nothing
    out: str | None = None  # folder
    help: bool = False


def parse(module: types.ModuleType, words: Sequence[str]) -> Options:
    """The options that `words`, flags of an experiment, ask for.

    Raises:
      Wrong: a flag is unknown, has a value of another type, or a value that the
        experiment refuses.
    """
    values = define_flags(module.Config)
    try:
        rest = values([module.__name__, *words])[1:]
        if rest:
            raise Wrong(f"want flags only, got {' '.join(rest)}")
        config = read_config(module.Config, values)
        if hasattr(config, "check"):
            config.check()
    except (flags.Error, ValueError) as error:
        raise Wrong(error) from None
    chosen: dict[str, Any] = {name: values[name].value for name in _FRAME}
    if chosen["smoke"] and chosen["redraw"]:
        raise Wrong("want --smoke or --redraw, not both")
    return Options(config=config, **chosen)


def command_of(name: str, config: Any) -> str:
    """What to type to run experiment `name` again with `config`, from the root.

    The folder of the data is the user's, and becomes DIR.
    """
    bases = [([], type(config)())]
    if _has_full(type(config)):
        bases.append((["--full"], type(config).full()))
    words = min((first + _differences(config, base) for first, base in bases), key=len)
    return " ".join(["python -m", f"experiments.{name}", *words])


def _differences(config: Any, base: Any) -> list[str]:
    """The flags that make `config` of `base`."""
    pairs = [
        (field.name, getattr(config, field.name), getattr(base, field.name))
        for field in dataclasses.fields(config)
    ]
    return [
        f"--{name}=" + ("DIR" if name == DATA_DIR else _shown(record.portable(value)))
        for name, value, default in pairs
        if value != default
    ]


def _shown(value: Any) -> str:
    """A value as one types it."""
    if isinstance(value, (tuple, list)):
        return ",".join(map(str, value))
    return str(value)


class _Numbers(flags.ArgumentParser):
    """A comma-separated tuple of one type."""

    def __init__(self, of: type):
        self.of = of
        self.syntactic_help = f"comma-separated {of.__name__}s"

    def parse(self, argument: Any) -> tuple[Any, ...]:
        if not isinstance(argument, str):
            return tuple(argument)
        return tuple(self.of(word) for word in argument.split(",") if word.strip())

    def flag_type(self) -> str:
        return f"comma-separated {self.of.__name__}s"


def define_flags(config_class: type) -> flags.FlagValues:
    """A set of flags of its own: one for each field, and those of the frame.

    Where the class has a method `full`, --full is one too.

    Raises:
      TypeError: a field has a type that flags cannot take.
    """
    values = flags.FlagValues()
    hints = typing.get_type_hints(config_class)
    comments = _comments(config_class)
    defaults = config_class()
    parsers: dict[Any, flags.ArgumentParser] = {
        int: flags.IntegerParser(),
        float: flags.FloatParser(),
        str: flags.ArgumentParser(),
    }
    for field in dataclasses.fields(config_class):
        name, default = field.name, getattr(defaults, field.name)
        kind = _without_none(hints[name])
        help_line = field.metadata.get("help", comments.get(name, ""))
        if kind is bool:
            flags.DEFINE_bool(name, default, help_line, flag_values=values)
            continue
        if typing.get_origin(kind) is typing.Literal:
            parser = flags.EnumParser(list(typing.get_args(kind)))
        elif typing.get_origin(kind) is tuple:
            of, *ellipsis = typing.get_args(kind)
            if ellipsis != [...] or of not in (int, float, str):
                raise TypeError(f"{name}: want tuple[int, ...] or the like, got {kind}")
            parser = _Numbers(of)
        elif kind in parsers:
            parser = parsers[kind]
        else:
            raise TypeError(f"{name}: no flag for a field of type {kind}")
        flags.DEFINE(parser, name, default, help_line, flag_values=values)
    flags.DEFINE_bool("smoke", False, "tiny settings, in seconds", flag_values=values)
    if _has_full(config_class):
        flags.DEFINE_bool("full", False, "the source's settings", flag_values=values)
    flags.DEFINE_bool(
        "redraw",
        False,
        "draw the arrays saved in the folder once more, and run nothing",
        flag_values=values,
    )
    flags.DEFINE_string(
        "out", None, "folder; figures, or with --smoke a new one", flag_values=values
    )
    flags.DEFINE_bool("help", False, "show this", short_name="h", flag_values=values)
    return values


def read_config(config_class: Any, values: flags.FlagValues) -> Any:
    """Config(), Config.smoke() or Config.full(), with the flags that were given put in.

    Raises:
      ValueError: both --smoke and --full are given, or a number below 0.
    """
    full, smoke = (name in values and values[name].value for name in ("full", "smoke"))
    if full and smoke:
        raise ValueError("want --smoke or --full, not both")
    base = config_class.full() if full else config_class()
    if smoke:
        base = config_class.smoke()
    given = {
        field.name: values[field.name].value
        for field in dataclasses.fields(config_class)
        if values[field.name].present
    }
    for name, value in given.items():
        _require_numbers(name, value)
    return dataclasses.replace(base, **given)


def _require_numbers(name: str, value: Any) -> None:
    """Raises ValueError for NaN and for numbers below 0: no setting is one."""
    for one in value if isinstance(value, tuple) else (value,):
        if isinstance(one, (int, float)) and (math.isnan(one) or one < 0):
            raise ValueError(f"--{name}: want no number below 0, got {_shown(value)}")


def help_text(module: types.ModuleType) -> str:
    """The module's docstring and its flags."""
    values = define_flags(module.Config)
    names = [field.name for field in dataclasses.fields(module.Config)]
    lines = [(module.__doc__ or "").strip(), "", "Flags, with their defaults:"]
    full = ["full"] if _has_full(module.Config) else []
    for name in [*names, *full, *_FRAME]:
        flag = values[name]
        text = "" if flag.help == _NO_HELP else flag.help
        lines.append(f"  {f'--{name}={_shown(flag.default)}':28} {text}".rstrip())
    return "\n".join([*lines, "", CODES]) + "\n"


def _has_full(config_class: type) -> bool:
    return hasattr(config_class, "full")


def _without_none(kind: Any) -> Any:
    """T for `T | None`."""
    if typing.get_origin(kind) in (types.UnionType, typing.Union):
        kinds = [part for part in typing.get_args(kind) if part is not type(None)]
        return kinds[0] if len(kinds) == 1 else kind
    return kind


def _comments(config_class: type) -> dict[str, str]:
    """The comment beside each field, or the docstring's line `name: text`.

    Of fields that are inherited too.
    """
    found: dict[str, str] = {}
    for base in reversed(config_class.__mro__[:-1]):
        with contextlib.suppress(OSError, TypeError, SyntaxError):
            source = inspect.getsource(base)
            found |= re.findall(r"^ *(\w+): +(\S.*)$", base.__doc__ or "", re.M)
            found |= re.findall(r"^ +(\w+) *:.*?# *(.+)$", source, re.M)
    return found
