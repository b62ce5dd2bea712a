from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import iotpi
import pytest
from iotpi.schema import bind, plain, schema_of
from iotpi.testing import HubProcess


class Colour(enum.Enum):
    RED = "red"
    GREEN = "green"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


@dataclass
class Fade:
    to: Annotated[int, {"minimum": 0, "maximum": 100}]
    over: timedelta = timedelta(seconds=1)
    colours: list[Colour] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.over < timedelta(0):
            raise ValueError("a fade takes time")


class Place(TypedDict):
    room: str
    shelf: NotRequired[int]


def light(
    colour: Colour,
    fade: Fade,
    place: Place,
    level: Level = Level.LOW,
    pause: timedelta | None = None,
    mode: Literal[Colour.RED, "any"] = "any",
    zones: dict[str, Fade] | None = None,
) -> dict[str, object]:
    """Takes a parameter of each type."""
    return {
        "colour": colour,
        "fade": fade,
        "place": place,
        "level": level,
        "pause": pause,
        "mode": mode,
        "zones": zones,
    }


TYPED: dict[str, object] = {
    "colour": Colour.GREEN,
    "fade": Fade(40, timedelta(minutes=1), [Colour.RED]),
    "place": {"room": "hall", "shelf": 2},
    "level": Level.HIGH,
    "pause": timedelta(seconds=1.5),
    "mode": Colour.RED,
    "zones": {"north": Fade(1)},
}


def test_typed_parameters_become_a_schema() -> None:
    fade = {
        "type": "object",
        "properties": {
            "to": {"type": "integer", "minimum": 0, "maximum": 100},
            "over": {"type": "number", "description": "seconds", "default": 1.0},
            "colours": {"type": "array", "items": {"enum": ["red", "green"]}, "default": []},
        },
        "additionalProperties": False,
        "required": ["to"],
    }

    assert schema_of(light) == {
        "type": "object",
        "properties": {
            "colour": {"enum": ["red", "green"]},
            "fade": fade,
            "place": {
                "type": "object",
                "properties": {"room": {"type": "string"}, "shelf": {"type": "integer"}},
                "additionalProperties": False,
                "required": ["room"],
            },
            "level": {"enum": [1, 2], "default": 1},
            "pause": {"type": ["number", "null"], "description": "seconds"},
            "mode": {"enum": ["red", "any"], "default": "any"},
            "zones": {"type": ["object", "null"], "additionalProperties": fade},
        },
        "additionalProperties": False,
        "required": ["colour", "fade", "place"],
    }


def test_parameters_arrive_as_their_types() -> None:
    assert bind(light, plain(TYPED)) == TYPED
    assert bind(light, {"colour": "red", "fade": {"to": 1.0}, "place": {"room": "a"}, "pause": None}) == {
        "colour": Colour.RED,
        "fade": Fade(1),
        "place": {"room": "a"},
        "pause": None,
    }


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"colour": "blue"}, "no value of Colour"),
        ({"level": True}, "no value of Level"),
        ({"fade": {"over": 1}}, "lacks `to`"),
        ({"fade": {"to": 1, "from": 2}}, "no field `from`"),
        ({"fade": {"to": 1, "over": -1}}, "a fade takes time"),
        ({"place": {}}, "lacks `room`"),
    ],
)
def test_typed_parameters_that_do_not_fit_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(iotpi.Refused, match=message):
        bind(light, plain(TYPED) | wrong)


def test_the_hub_accepts_the_schemas_and_checks_parameters_against_them(
    hub: HubProcess, client: iotpi.Client, module_id: str
) -> None:
    module = iotpi.Module(module_id)
    received: list[dict[str, object]] = []

    @module.action("light")
    def act(
        colour: Colour,
        fade: Fade,
        place: Place,
        level: Level = Level.LOW,
        pause: timedelta | None = None,
        mode: Literal[Colour.RED, "any"] = "any",
        zones: dict[str, Fade] | None = None,
    ) -> dict[str, object]:
        received.append(light(colour, fade, place, level, pause, mode, zones))
        return received[0]

    @module.action("fade")
    def fade(to: int, over: timedelta = timedelta(0), colours: list[Colour] | None = None) -> None:
        pass

    token = hub.token("module", module_id)
    module.run(url=hub.url, token=token, once=True)
    command = client.control(module_id, "light", TYPED)
    dataclass_command = client.control(module_id, "fade", Fade(40))
    refused: list[dict[str, object]] = [
        TYPED | {"colour": "blue"},
        TYPED | {"fade": {"to": 101}},
        TYPED | {"level": 3},
        TYPED | {"pause": "long"},
        TYPED | {"place": {"rum": "hall"}},
    ]
    for params in refused:
        with pytest.raises(iotpi.Unprocessable):
            client.control(module_id, "light", params)
    module.run(url=hub.url, token=token, once=True)
    module.run(url=hub.url, token=token, once=True)

    assert received == [TYPED]
    assert client.command(command.id).result == plain(TYPED)
    assert client.command(dataclass_command.id).params == {"to": 40, "over": 1.0, "colours": []}


def test_types_without_a_json_form_are_refused_by_name() -> None:
    @dataclass
    class Tree:
        left: Tree | None

    globals()["Tree"] = Tree

    class Odd(enum.Enum):
        SPOT = (1, 2)

    def recursive(x: Tree) -> None: ...
    def odd(x: Odd) -> None: ...
    def by_number(x: dict[int, str]) -> None: ...

    odd.__annotations__["x"] = Odd
    cases: dict[str, Callable[..., None]] = {"contains itself": recursive, "values of Odd": odd, "keys": by_number}
    for message, function in cases.items():
        with pytest.raises(iotpi.InvalidArgument, match=f"parameter `x` of .*{message}"):
            schema_of(function)


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
            "pause": {"type": ["number", "null"]},
            "names": {"type": ["array", "null"], "items": {"type": "string"}},
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
