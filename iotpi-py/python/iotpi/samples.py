"""Series and samples: the quantities that a sensor function measures, and the values that it returns."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from . import _iotpi
from ._similar import did_you_mean, similar
from .errors import InvalidArgument, Unprocessable

NO_VALUE = "the sensor gave no value"

NativeSample = tuple[str, float | None, str | None, str]
"""A sample as the native module takes it: type, value, unit, reason."""


@dataclass(frozen=True, slots=True)
class Series:
    """A series of readings of one module.

    Attributes:
        type: The quantity: ``temperature``, ``humidity``, ..., or an id of your own.
        unit: The unit of the values that the module gives, such as ``celsius`` or ``fahrenheit``; by default the
            hub's unit of the quantity. A type of your own needs one.

    Raises:
        InvalidArgument: The type is not an id, or has no unit.
        Unprocessable: The unit does not fit the type.
    """

    type: str
    unit: str | None = None

    def __post_init__(self) -> None:
        try:
            _iotpi.canonical_unit(self.type, self.unit)
        except InvalidArgument as error:
            if self.unit is None:
                error.add(did_you_mean(self.type, _iotpi.QUANTITIES))
            raise
        meant = similar(self.type, _iotpi.QUANTITIES)
        # A type of one's own is allowed, so this is no error.
        if meant is not None and _has_unit(meant, self.unit):
            message = f"`{self.type}` is none of the known quantities, but a type of your own. Did you mean `{meant}`?"
            warnings.warn(message, stacklevel=4)


def _has_unit(type: str, unit: str | None) -> bool:
    try:
        _iotpi.canonical_unit(type, unit)
    except Unprocessable:
        return False
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One measured value of one series, for a sensor function that measures several.

    Attributes:
        type: The quantity.
        value: A number; ``None`` if the measurement failed.
        unit: The unit of ``value``; by default the unit that the series was declared with.
        reason: With a ``value`` of ``None``: the reason, up to 200 characters.
    """

    type: str
    value: float | None
    unit: str | None = None
    reason: str | None = None


def samples_of(result: object, series: Sequence[Series]) -> list[NativeSample]:
    """Converts what a sensor function returned to one sample for each of its series, and any further ones.

    Raises:
        TypeError, ValueError: The function returned something else.
    """
    samples = _samples(result, series)
    units = {one.type: one.unit for one in series}
    taken = [
        (sample.type, _number(sample.value), sample.unit or units.get(sample.type), sample.reason or NO_VALUE)
        for sample in samples
    ]
    found = {sample.type for sample in samples}
    missing = [one for one in series if one.type not in found]
    return taken + [(one.type, None, one.unit, f"the function returned no `{one.type}`") for one in missing]


def _samples(result: object, series: Sequence[Series]) -> list[Sample]:
    if isinstance(result, Sample):
        return [result]
    if isinstance(result, Mapping):
        return [_keyed(key, value, series) for key, value in result.items()]
    if isinstance(result, list | tuple):
        if result and all(isinstance(item, Sample) for item in result):
            return cast("list[Sample]", list(result))
        return _in_order(result, series)
    if result is None:
        return [Sample(type=one.type, value=None) for one in series]
    return _in_order([result], series)


def _in_order(values: Iterable[Any], series: Sequence[Series]) -> list[Sample]:
    values = list(values)
    if len(values) != len(series):
        names = ", ".join(one.type for one in series)
        raise ValueError(f"the function returned {len(values)} of {len(series)} values ({names})")
    return [Sample(type=one.type, value=value) for one, value in zip(series, values, strict=True)]


def _keyed(key: object, value: Any, series: Sequence[Series]) -> Sample:
    types = [one.type for one in series]
    name = key.type if isinstance(key, Series) else str(key)
    if name not in types:
        raise ValueError(f"the function returned `{name}`, which is not one of its series. {did_you_mean(name, types)}")
    return Sample(type=name, value=value)


def _number(value: Any) -> float | None:
    return None if value is None else float(value)
