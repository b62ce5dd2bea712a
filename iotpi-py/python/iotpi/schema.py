"""Conversion of a function's parameters to the JSON Schema of an action, and of a command's parameters to arguments."""

from __future__ import annotations

import dataclasses
import enum
import inspect
from collections.abc import Callable, Mapping
from datetime import timedelta
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    Literal,
    NotRequired,
    Required,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

from .errors import InvalidArgument, Refused

_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string", dict: "object", list: "array"}


def schema_of(function: Callable[..., Any]) -> dict[str, Any]:
    """The JSON Schema (2020-12) of a function's parameters.

    Supported are ``bool``, ``int``, ``float``, ``str``, ``list``, ``dict``, ``Literal``, ``Enum``, ``timedelta`` (a
    number of seconds), dataclasses, ``TypedDict``, ``X | None`` and ``Annotated`` with a dict of further keywords
    (``Annotated[int, {"minimum": 0, "maximum": 100}]``). A default makes a parameter optional.

    Raises:
        InvalidArgument: A parameter has no annotation, or one that has no JSON type.
    """
    hints = get_type_hints(function, include_extras=True)
    fields: dict[str, _Field] = {}
    open_ended = False
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            open_ended = True
            continue
        where = f"parameter `{name}` of {function.__qualname__}"
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.VAR_POSITIONAL):
            raise InvalidArgument(f"{where} cannot be passed by name")
        if name not in hints:
            raise InvalidArgument(f"{where} has no annotation; annotate it, or pass params= to the action")
        fields[name] = _Field(hints[name], where, parameter.default is parameter.empty, parameter.default)
    return _object(fields, (), open_ended)


@dataclasses.dataclass
class _Field:
    """A property of an object: a parameter, a field of a dataclass, a key of a TypedDict."""

    hint: Any
    where: str
    required: bool
    default: Any = inspect.Parameter.empty


def _object(fields: Mapping[str, _Field], inside: tuple[Any, ...], open_ended: bool = False) -> dict[str, Any]:
    properties: dict[str, Any] = {}
    for name, field in fields.items():
        properties[name] = _schema(field.hint, field.where, inside)
        if field.default is not inspect.Parameter.empty and field.default is not None:
            properties[name]["default"] = plain(field.default)
    schema: dict[str, Any] = {"type": "object", "properties": properties, "additionalProperties": open_ended}
    if required := [name for name, field in fields.items() if field.required]:
        schema["required"] = required
    return schema


def _schema(hint: Any, where: str, inside: tuple[Any, ...]) -> dict[str, Any]:
    origin, args = get_origin(hint), get_args(hint)
    if origin is Annotated:
        schema = _schema(args[0], where, inside)
        for more in args[1:]:
            if isinstance(more, dict):
                schema |= more
        return schema
    if origin is Literal:
        return {"enum": [plain(arg) for arg in args]}
    if origin in (Union, UnionType):
        return _union([_schema(arg, where, inside) for arg in args])
    if hint is NoneType:
        return {"type": "null"}
    if hint is Any:
        return {}
    if hint is timedelta:
        return {"type": "number", "description": "seconds"}
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return _enum(hint, where)
    if _has_fields(hint):
        if hint in inside:
            raise InvalidArgument(f"{where}: {hint.__name__} contains itself, which a schema must not")
        return _object(_fields(hint, where), (*inside, hint))
    if origin is list and args:
        return {"type": "array", "items": _schema(args[0], where, inside)}
    if origin is dict and args:
        if args[0] is not str:
            raise InvalidArgument(f"{where}: the keys of a JSON object are texts; use dict[str, ...]")
        return {"type": "object", "additionalProperties": _schema(args[1], where, inside)}
    bare = origin or hint
    if bare not in _TYPES:
        raise InvalidArgument(
            f"{where}: {hint!r} has no JSON type; use bool, int, float, str, list, dict, timedelta, Literal, an Enum, "
            "a dataclass or a TypedDict"
        )
    return {"type": _TYPES[bare]}


def _union(schemas: list[dict[str, Any]]) -> dict[str, Any]:
    """Any of the schemas. An optional value of one type gets the short form, for which a dashboard has a control."""
    some = [schema for schema in schemas if schema != {"type": "null"}]
    if len(some) == 1 and len(schemas) == 2:
        if isinstance(some[0].get("type"), str):
            return {**some[0], "type": [some[0]["type"], "null"]}
        if "enum" in some[0]:
            return {**some[0], "enum": [*some[0]["enum"], None]}
    return {"anyOf": schemas}


def _enum(hint: type[enum.Enum], where: str) -> dict[str, Any]:
    values = [member.value for member in hint]
    if not all(isinstance(value, bool | int | float | str | NoneType) for value in values):
        raise InvalidArgument(f"{where}: the values of {hint.__name__} must be texts, numbers, truth values or None")
    return {"enum": values}


def _has_fields(hint: Any) -> bool:
    return isinstance(hint, type) and (dataclasses.is_dataclass(hint) or is_typeddict(hint))


def _fields(hint: Any, where: str) -> dict[str, _Field]:
    hints = get_type_hints(hint, include_extras=True)
    if is_typeddict(hint):
        return {
            name: _Field(_bare(one), f"{where}, key `{name}`", _is_required(one, name in hint.__required_keys__))
            for name, one in hints.items()
        }
    fields = {}
    for field in dataclasses.fields(hint):
        if field.init:
            default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
            missing = default is dataclasses.MISSING
            fields[field.name] = _Field(
                hints[field.name],
                f"{where}, field `{field.name}`",
                missing,
                inspect.Parameter.empty if missing else default,
            )
    return fields


def _is_required(hint: Any, otherwise: bool) -> bool:
    # `__required_keys__` ignores the qualifiers of annotations that are texts.
    return {Required: True, NotRequired: False}.get(get_origin(hint), otherwise)


def _bare(hint: Any) -> Any:
    """The type of a key of a TypedDict."""
    return get_args(hint)[0] if get_origin(hint) in (Required, NotRequired) else hint


def plain(value: Any) -> Any:
    """A value in the types of JSON: an ``Enum`` is its value, a ``timedelta`` seconds, a dataclass a dict."""
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, timedelta):
        return value.total_seconds()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def bind(function: Callable[..., Any], params: Mapping[str, Any]) -> dict[str, Any]:
    """Converts the parameters of a command to keyword arguments of the types of the function's annotations.

    Raises:
        Refused: The parameters do not fit the function. The hub checks them too, but may have an older manifest.
    """
    try:
        inspect.signature(function).bind(**params)
    except TypeError as error:
        raise Refused(str(error)) from None
    hints = get_type_hints(function, include_extras=True)
    return {name: _value(value, hints.get(name, Any), name) for name, value in params.items()}


def _value(value: Any, hint: Any, where: str) -> Any:
    """Converts a value of JSON, which the schema of ``hint`` describes."""
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Annotated, Required, NotRequired):
        return _value(value, args[0], where)
    if origin in (Union, UnionType):
        return _one_of(value, args, where)
    if origin is Literal:
        return next((arg for arg in args if plain(arg) == value and _same_kind(plain(arg), value)), value)
    if hint is timedelta and _is_number(value):
        return timedelta(seconds=value)
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        for member in hint:
            if member.value == value and _same_kind(member.value, value):
                return member
        raise Refused(f"`{where}` is {value!r}, which is no value of {hint.__name__}")
    if _has_fields(hint) and isinstance(value, dict):
        return _record(value, hint, where)
    if origin is list and args and isinstance(value, list):
        return [_value(item, args[0], f"{where}/{index}") for index, item in enumerate(value)]
    if origin is dict and args and isinstance(value, dict):
        return {key: _value(item, args[1], f"{where}/{key}") for key, item in value.items()}
    # JSON has one type of number.
    if hint is int and isinstance(value, float) and value.is_integer():
        return int(value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return value


def _record(value: dict[str, Any], hint: Any, where: str) -> Any:
    fields = _fields(hint, where)
    if unknown := value.keys() - fields.keys():
        raise Refused(f"`{where}` has no field `{min(unknown)}`")
    if missing := [name for name, field in fields.items() if field.required and name not in value]:
        raise Refused(f"`{where}` lacks `{missing[0]}`")
    converted = {name: _value(item, fields[name].hint, f"{where}/{name}") for name, item in value.items()}
    try:
        return converted if is_typeddict(hint) else hint(**converted)
    except (TypeError, ValueError) as error:
        # A dataclass may check its values itself.
        raise Refused(f"`{where}`: {error}") from error


def _one_of(value: Any, hints: tuple[Any, ...], where: str) -> Any:
    """Converts to the first type of a union that the value fits."""
    refused: Refused | None = None
    for hint in hints:
        try:
            converted = _value(value, hint, where)
        except Refused as error:
            refused = error
            continue
        if converted is not value or _fits(value, hint):
            return converted
    if refused is not None:
        raise refused
    return value


def _fits(value: Any, hint: Any) -> bool:
    bare = get_origin(hint) or hint
    if bare is Any:
        return True
    if bare is float:
        return _is_number(value)
    if bare is int:
        return _is_number(value) and not isinstance(value, float)
    return isinstance(bare, type) and not is_typeddict(bare) and isinstance(value, bare)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _same_kind(one: Any, other: Any) -> bool:
    """In Python, not in JSON, True equals 1."""
    return isinstance(one, bool) == isinstance(other, bool)
