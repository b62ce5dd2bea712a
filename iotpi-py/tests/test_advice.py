"""Errors that say what to do: a missing token, a misspelt name."""

from __future__ import annotations

import asyncio
import warnings
from typing import Literal

import iotpi
import pytest
from iotpi import _iotpi, aio
from iotpi.testing import HubProcess


@pytest.fixture(autouse=True)
def no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("IOTPI_TOKEN", raising=False)


def test_a_missing_token_names_the_variable_and_the_command(hub: HubProcess) -> None:
    advice = r"IOTPI_TOKEN.*`iotpi-hub token add --role operator NAME`"

    with pytest.raises(iotpi.Unauthenticated, match=advice):
        iotpi.Client(hub.url).latest()
    with pytest.raises(iotpi.Unauthenticated, match=advice):
        list(iotpi.Client(hub.url).readings("temperature"))
    with pytest.raises(iotpi.Unauthenticated, match=advice):
        asyncio.run(aio.Client(hub.url).modules())


def test_a_wrong_token_is_not_called_a_missing_one(hub: HubProcess) -> None:
    with pytest.raises(iotpi.Unauthenticated) as raised:
        iotpi.Client(hub.url, "iotpi_wrong").latest()

    assert "IOTPI_TOKEN" not in str(raised.value)


@pytest.mark.parametrize("role", [None, "operator"])
def test_a_module_without_a_token_of_its_own_names_the_command(
    hub: HubProcess, module_id: str, role: Literal["operator"] | None
) -> None:
    module = iotpi.Module(module_id)
    module.sensor("temperature")(lambda: 1)
    token = hub.token(role, "an-operator") if role else None

    with pytest.raises(PermissionError, match=f"token add --role module --module {module_id}`") as raised:
        module.run(url=hub.url, token=token)

    assert ("IOTPI_TOKEN" in str(raised.value)) == (role is None)


def test_every_known_quantity_has_a_unit() -> None:
    for name in _iotpi.QUANTITIES:
        assert _iotpi.canonical_unit(name)


def test_a_misspelt_type_is_answered_with_a_question(client: iotpi.Client, module_id: str) -> None:
    module = iotpi.Module(module_id)

    with pytest.raises(iotpi.InvalidArgument, match=r"say its unit\. Did you mean `temperature`"):
        module.sensor("temprature")
    with pytest.raises(iotpi.InvalidArgument, match="Did you mean `humidity`"):
        module.record("humidty", 40)
    with pytest.warns(UserWarning, match="Did you mean `temperature`"):
        module.sensor("temprature", unit="celsius")
    with pytest.raises(iotpi.Unprocessable, match="Did you mean `pressure`"):
        client.record("presure", 1000, module=module_id)


def test_a_query_without_results_asks_for_the_series_that_was_meant(client: iotpi.Client, module_id: str) -> None:
    client.record("soil-moisture", 40, module=f"{module_id}-garden", unit="percent")

    with pytest.warns(UserWarning, match="type `soil-moistur`. Did you mean `soil-moisture`"):
        assert list(client.readings("soil-moistur")) == []
    with pytest.warns(UserWarning, match=f"Did you mean `{module_id}-garden`"):
        assert list(client.history("soil-moisture", module=f"{module_id}-gardn")) == []


def test_a_type_of_ones_own_is_no_misspelling(client: iotpi.Client, module_id: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        iotpi.Module(module_id).sensor("temperature-2", unit="celsius")
        iotpi.Module(module_id).sensor("soil-moisture", unit="percent")
        # It may have no readings yet.
        assert list(client.readings("temperature", module=module_id, until=1795472000)) == []
        assert list(client.readings("ph", module=f"{module_id}-2")) == []
