"""Configuration: typed dataclasses read from YAML, checked, printed and saved with the result.

A value may be overridden as ``key.inner=value``; ``$NAME`` in a string is an environment variable, so that a
configuration names data without naming a machine.
"""

from __future__ import annotations

import dataclasses
import os
import re
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import TypeAdapter, ValidationError

from asr.errors import ConfigError

T = TypeVar("T")


def load_config(kind: type[T], path: str | Path, overrides: tuple[str, ...] = (), *, keep_unset: bool = False) -> T:
    """Reads a YAML file into the dataclass ``kind``.

    Args:
        kind: of the configuration.
        path: of the file.
        overrides: as ``key.inner=value``.
        keep_unset: leave a ``$NAME`` that is not set as it stands, where a path that leads nowhere is no error.

    Raises:
        ConfigError: unreadable, an unknown key, a value of the wrong type or out of range.
    """
    path = Path(path)
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: is not YAML ({' '.join(str(error).split())})") from error
    return make_config(kind, raw or {}, str(path), overrides, keep_unset=keep_unset)


def make_config(kind: type[T], raw: Any, name: str, overrides: tuple[str, ...] = (), *, keep_unset: bool = False) -> T:
    """Checks a nested dict against the dataclass ``kind``; ``name`` is what errors call it."""
    if not isinstance(raw, dict):
        raise ConfigError(f"{name}: must be a mapping of keys to values, found {type(raw).__name__}")
    for override in overrides:
        _override(raw, override)
    try:
        return TypeAdapter(kind).validate_python(_expanded(raw, name, keep_unset=keep_unset))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        known = f"; known keys: {', '.join(_keys_beside(kind, first['loc']))}" if "unexpected" in first["type"] else ""
        raise ConfigError(f"{name}: {where}: {first['msg']}{known}") from error


def config_to_json(config: Any) -> Any:
    """The configuration as plain dicts, lists and values."""
    return TypeAdapter(type(config)).dump_python(config, mode="json")


def config_to_yaml(config: Any) -> str:
    """The configuration as YAML that `load_config` reads back."""
    return yaml.safe_dump(config_to_json(config), sort_keys=False, allow_unicode=True)


def _override(raw: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    if not equals:
        raise ConfigError(f"override {override!r}: write it as key=value, for example optimizer.lr=0.001")
    *parents, last = key.strip().split(".")
    for parent in parents:
        raw = raw.setdefault(parent, {})
        if not isinstance(raw, dict):
            raise ConfigError(f"override {override!r}: {parent!r} is not a mapping")
    raw[last] = yaml.safe_load(value)


def _expanded(value: Any, name: str, *, keep_unset: bool) -> Any:
    if isinstance(value, dict):
        return {key: _expanded(inner, name, keep_unset=keep_unset) for key, inner in value.items()}
    if isinstance(value, list):
        return [_expanded(inner, name, keep_unset=keep_unset) for inner in value]
    if isinstance(value, str):
        expanded = os.path.expandvars(value)
        missing = re.search(r"\$\{?(\w+)", expanded)
        if missing and not keep_unset:
            raise ConfigError(f"{name}: {value!r} needs the environment variable {missing[1]}, which is not set")
        return expanded
    return value


def _keys_beside(kind: Any, location: tuple[int | str, ...]) -> list[str]:
    """Names of the fields at the depth of an unknown key."""
    import typing

    for part in location[:-1]:
        if not dataclasses.is_dataclass(kind):
            return []
        kind = typing.get_type_hints(kind).get(str(part))
    return [field.name for field in dataclasses.fields(kind)] if dataclasses.is_dataclass(kind) else []
