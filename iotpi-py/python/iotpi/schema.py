"""Conversion of a function's parameters to the JSON Schema of an action, and of a command's parameters to arguments."""

from __future__ import annotations

import enum
import inspect
from collections.abc import Callable, Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from .errors import InvalidArgument, Refused

_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string", dict: "object", list: "array"}


def schema_of(function: Callable[..., Any]) -> dict[str, Any]:
    """The JSON Schema (2020-12) of a function's parameters.

    Supported are ``bool``, ``int``, ``float``, ``str``, ``list``, ``dict``, ``Literal``, ``X | None`` and ``Annotated``
    with a dict of further keywords (``Annotated[int, {"minimum": 0, "maximum": 100}]``). A default makes a parameter
    optional.

    Raises:
        InvalidArgument: A parameter has no annotation, or one that has no JSON type.
    """
    hints = get_type_hints(function, include_extras=True)
    properties: dict[str, Any] = {}
    required = []
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
        properties[name] = _schema(hints[name], where)
        if parameter.default is parameter.empty:
            required.append(name)
        elif isinstance(parameter.default, bool | int | float | str):
            properties[name]["default"] = parameter.default
    schema: dict[str, Any] = {"type": "object", "properties": properties, "additionalProperties": open_ended}
    if required:
        schema["required"] = required
    return schema


def _schema(hint: Any, where: str) -> dict[str, Any]:
    origin, args = get_origin(hint), get_args(hint)
    if origin is Annotated:
        schema = _schema(args[0], where)
        for more in args[1:]:
            if isinstance(more, dict):
                schema |= more
        return schema
    if origin is Literal:
        return {"enum": list(args)}
    if origin in (Union, UnionType):
        return {"anyOf": [_schema(arg, where) for arg in args]}
    if hint is NoneType:
        return {"type": "null"}
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        raise InvalidArgument(f"{where} is an Enum; use Literal with its values")
    if hint is Any:
        return {}
    if origin is list and args:
        return {"type": "array", "items": _schema(args[0], where)}
    plain = origin or hint
    if plain not in _TYPES:
        raise InvalidArgument(f"{where}: {hint!r} has no JSON type; use bool, int, float, str or Literal")
    return {"type": _TYPES[plain]}


def bind(function: Callable[..., Any], params: Mapping[str, Any]) -> dict[str, Any]:
    """Converts the parameters of a command to keyword arguments of the function.

    JSON has one type of number: ``3.0`` becomes an ``int`` if the annotation is ``int``, and ``3`` a ``float``.

    Raises:
        Refused: The parameters do not fit the function. The hub checks them too, but may have an older manifest.
    """
    try:
        inspect.signature(function).bind(**params)
    except TypeError as error:
        raise Refused(str(error)) from None
    hints = get_type_hints(function)
    return {name: _number(value, hints.get(name)) for name, value in params.items()}


def _number(value: Any, hint: Any) -> Any:
    if hint is int and isinstance(value, float) and value.is_integer():
        return int(value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return value
