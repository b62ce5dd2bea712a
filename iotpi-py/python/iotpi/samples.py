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

NativeSample = tuple[str, str | None, float | None, str | None, str]
"""A sample as the native module takes it: type, channel, value, unit, reason."""


@dataclass(frozen=True, slots=True)
class Series:
    """A series of readings of one module.

    Attributes:
        type: The quantity: ``temperature``, ``humidity``, ..., or an id of your own.
        unit: The unit of the values that the module gives, such as ``celsius`` or ``fahrenheit``; by default the
            hub's unit of the quantity. A type of your own needs one.
        channel: Distinguishes several sensors of the type in the module, such as ``supply`` or ``28-0316a2790c1b``.

    Raises:
        InvalidArgument: The type or the channel is not an id, or the type has no unit.
        Unprocessable: The unit does not fit the type.
    """

    type: str
    unit: str | None = None
    channel: str | None = None

    def __post_init__(self) -> None:
        try:
            _iotpi.canonical_unit(self.type, self.unit)
            if self.channel is not None:
                _iotpi.check_id(self.channel)
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
        channel: The channel of the series, if it has one.
        unit: The unit of ``value``; by default the unit that the series was declared with.
        reason: With a ``value`` of ``None``: the reason, up to 200 characters.
    """

    type: str
    value: float | None
    channel: str | None = None
    unit: str | None = None
    reason: str | None = None


def samples_of(result: object, series: Sequence[Series]) -> list[NativeSample]:
    """Converts what a sensor function returned to one sample for each of its series, and any further ones.

    Raises:
        TypeError, ValueError: The function returned something else.
    """
    samples = _samples(result, series)
    units = {(one.type, one.channel): one.unit for one in series}
    missing = dict(units)
    taken: list[NativeSample] = []
    for sample in samples:
        key = (sample.type, sample.channel)
        missing.pop(key, None)
        taken.append((*key, _number(sample.value), sample.unit or units.get(key), sample.reason or NO_VALUE))
    return taken + [(*key, None, unit, f"the function returned no `{key[0]}`") for key, unit in missing.items()]


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
        return [_sample(one, None) for one in series]
    return _in_order([result], series)


def _in_order(values: Iterable[Any], series: Sequence[Series]) -> list[Sample]:
    values = list(values)
    if len(values) != len(series):
        names = ", ".join(one.type for one in series)
        raise ValueError(f"the function returned {len(values)} of {len(series)} values ({names})")
    return [_sample(one, value) for one, value in zip(series, values, strict=True)]


def _keyed(key: object, value: Any, series: Sequence[Series]) -> Sample:
    found = [one for one in series if key in (one, one.type)]
    if not found:
        hint = did_you_mean(str(key), [one.type for one in series])
        raise ValueError(f"the function returned `{key}`, which is not one of its series. {hint}")
    if len(found) > 1:
        raise ValueError(f"the function returned `{key}`, of which it has several channels; use Series as the keys")
    return _sample(found[0], value)


def _sample(series: Series, value: Any) -> Sample:
    return Sample(type=series.type, channel=series.channel, value=value)


def _number(value: Any) -> float | None:
    return None if value is None else float(value)
