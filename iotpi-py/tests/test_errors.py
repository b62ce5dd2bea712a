from __future__ import annotations

import builtins
import copy
import errno
import pickle

import iotpi
import pytest
from iotpi import _iotpi, errors
from odd_servers import server_that_answers, silent_server

KINDS = [cls for cls in iotpi.Error.__subclasses__() if cls.kind is not None]


def problem(kind: str) -> dict[str, object]:
    return {
        "type": f"urn:iotpi:problem:{kind}",
        "kind": kind,
        "title": "A title",
        "status": 400,
        "detail": "what happened",
        "pointer": "/3/unit",
        "choices": ["a", "b"],
        "retry_after_secs": 2.5,
        "request_id": "01890a5d",
    }


def test_there_is_one_exception_for_each_kind_of_the_core() -> None:
    assert sorted(cls.kind or "" for cls in KINDS) == sorted(_iotpi.ERROR_KINDS)


def test_everything_raised_is_in_one_tree_and_exported() -> None:
    tree = {cls for cls in vars(errors).values() if isinstance(cls, type) and issubclass(cls, Exception)}

    assert all(issubclass(cls, iotpi.Error) for cls in tree)
    assert {cls.__name__ for cls in tree} <= set(iotpi.__all__)


@pytest.mark.parametrize(
    ("cls", "builtin"),
    [
        (iotpi.InvalidArgument, "ValueError"),
        (iotpi.Unauthenticated, "PermissionError"),
        (iotpi.PermissionDenied, "PermissionError"),
        (iotpi.NotFound, "LookupError"),
        (iotpi.TooLarge, "ValueError"),
        (iotpi.Unprocessable, "ValueError"),
        (iotpi.Unavailable, "ConnectionError"),
        (iotpi.Timeout, "TimeoutError"),
        (iotpi.StorageFull, "OSError"),
        (iotpi.ModuleFailed, "RuntimeError"),
    ],
)
def test_an_exception_is_also_the_builtin_that_fits(cls: type[iotpi.Error], builtin: str) -> None:
    assert issubclass(cls, getattr(builtins, builtin))


@pytest.mark.parametrize("cls", KINDS)
def test_a_problem_of_the_hub_becomes_its_exception(cls: type[iotpi.Error]) -> None:
    with server_that_answers(400, problem(cls.kind or "")) as url, pytest.raises(cls) as raised:
        iotpi.Client(url, "a-token").modules()

    error = raised.value
    assert type(error) is cls
    assert str(error) == "what happened (at /3/unit)"
    assert (error.detail, error.pointer, error.choices) == ("what happened", "/3/unit", ["a", "b"])
    assert (error.retry_after, error.request_id) == (2.5, "01890a5d")


@pytest.mark.parametrize("cls", [*KINDS, iotpi.Timeout, iotpi.Refused, iotpi.ModuleFailed])
def test_an_exception_survives_a_copy_and_a_pickle(cls: type[iotpi.Error]) -> None:
    error = cls("what happened", pointer="/3", retry_after=1.0)

    for copied in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert type(copied) is cls
        assert (str(copied), copied.pointer, copied.retry_after) == (str(error), "/3", 1.0)


def test_a_hub_that_does_not_answer_is_a_timeout() -> None:
    with silent_server() as server, pytest.raises(TimeoutError) as raised:
        iotpi.Client(server.url, timeout=0.05).latest()

    assert isinstance(raised.value, iotpi.Timeout)
    assert isinstance(raised.value, iotpi.Unavailable)


def test_a_hub_that_is_not_there_is_unavailable() -> None:
    with silent_server() as server:
        url = server.url

    with pytest.raises(ConnectionError, match=r"cannot be reached: Connection refused$") as raised:
        iotpi.Client(url).latest()

    assert isinstance(raised.value, iotpi.Unavailable)
    assert not isinstance(raised.value, iotpi.Timeout)
    assert isinstance(raised.value.__cause__, ConnectionRefusedError)
    assert raised.value.__cause__.errno == errno.ECONNREFUSED


def test_what_is_no_hub_is_named_as_such() -> None:
    with server_that_answers(200, "hello") as url, pytest.raises(iotpi.Unavailable, match="is not an iotpi hub"):
        iotpi.Client(url).latest()


@pytest.mark.parametrize("url", ["", "hub.local", "https://hub.local", "http://hub/?a"])
def test_what_is_no_address_of_a_hub_is_refused_at_once(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IOTPI_URL", url or "nonsense")

    with pytest.raises(iotpi.InvalidArgument, match="is not the address of a hub"):
        iotpi.Client(url or None)
