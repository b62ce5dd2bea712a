from __future__ import annotations

from typing import Annotated, Any, Literal

import iotpi
import pytest
from iotpi.schema import bind, schema_of


def test_annotations_become_a_schema() -> None:
    def act(
        on: bool,
        times: int,
        colour: Literal["red", "green"],
        level: Annotated[int, {"minimum": 0, "maximum": 100}] = 50,
        pause: float | None = None,
        names: list[str] | None = None,
    ) -> None: ...

    schema = schema_of(act)

    assert schema == {
        "type": "object",
        "properties": {
            "on": {"type": "boolean"},
            "times": {"type": "integer"},
            "colour": {"enum": ["red", "green"]},
            "level": {"type": "integer", "minimum": 0, "maximum": 100, "default": 50},
            "pause": {"anyOf": [{"type": "number"}, {"type": "null"}]},
            "names": {"anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "null"}]},
        },
        "additionalProperties": False,
        "required": ["on", "times", "colour"],
    }


def test_a_function_that_takes_anything_says_so() -> None:
    def act(**params: Any) -> None: ...

    assert schema_of(act) == {"type": "object", "properties": {}, "additionalProperties": True}


def test_a_parameter_without_a_json_form_is_refused_by_name() -> None:
    def bare(x) -> None: ...  # type: ignore[no-untyped-def]
    def odd(x: complex) -> None: ...
    def by_place(x: int, /) -> None: ...

    for function in (bare, odd, by_place):
        with pytest.raises(iotpi.InvalidArgument, match=r"parameter `x` of .*" + function.__name__):
            schema_of(function)


def test_numbers_arrive_as_the_function_wants_them() -> None:
    def act(times: int, pause: float, on: bool) -> None: ...

    params = bind(act, {"times": 3.0, "pause": 1, "on": True})

    assert [type(value) for value in params.values()] == [int, float, bool]


@pytest.mark.parametrize("params", [{}, {"times": 1, "more": 2}])
def test_parameters_that_do_not_fit_are_refused(params: dict[str, Any]) -> None:
    def act(times: int) -> None: ...

    with pytest.raises(iotpi.Refused):
        bind(act, params)
