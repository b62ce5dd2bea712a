"""The command ``iotpi``: the common requests to a hub from a shell."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

from . import _iotpi
from .client import Client
from .errors import Error
from .records import Command, Reading

_DURATION = re.compile(r"(\d+)([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns the exit code: 0, or 1 after an error, which is printed.

    Args:
        arguments: The arguments after the name of the program; by default those of the process.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    warnings.showwarning = lambda message, *_: print(f"iotpi: {message}", file=sys.stderr)
    try:
        with Client(options.url, options.token, options.timeout) as client:
            return _COMMANDS[options.command](client, options)
    except Error as error:
        print(f"iotpi: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader of the output has enough, as `head` has. At exit nothing is written any more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--url", help="the hub; by default IOTPI_URL, or http://127.0.0.1:8000")
    common.add_argument("--token", help="an API token; by default IOTPI_TOKEN")
    common.add_argument("--timeout", type=float, default=10.0, help="the time limit of a request in seconds (10)")
    common.add_argument("--json", action="store_true", help="print JSON, one object a line")
    parser = argparse.ArgumentParser(prog="iotpi", description="Sends requests to an iotpi hub.")
    parser.add_argument("--version", action="version", version=f"iotpi {_iotpi.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("health", parents=[common], help="the state of the hub")
    commands.add_parser("modules", parents=[common], help="the modules, their health and their actions")
    readings = commands.add_parser("readings", parents=[common], help="the newest reading of every series, or one type")
    readings.add_argument("type", nargs="?", help="the quantity, such as temperature")
    readings.add_argument("--module", help="only readings of this module")
    readings.add_argument("--channel", help="only readings of this channel")
    readings.add_argument("--since", type=_moment, help="the earliest time: 90s, 15m, 24h, 7d ago, or RFC 3339")
    readings.add_argument("--limit", type=int, default=20, help="the maximum number of readings of one type (20)")
    control = commands.add_parser("control", parents=[common], help="send a command to a module and wait for its end")
    control.add_argument("module")
    control.add_argument("action")
    control.add_argument(
        "params", nargs="*", type=_parameter, metavar="NAME=VALUE", help="a parameter; the value is JSON or a text"
    )
    control.add_argument("--wait", type=float, default=60.0, help="the time limit of the command in seconds (60)")
    return parser


def _moment(text: str) -> datetime:
    if match := _DURATION.fullmatch(text):
        return datetime.now(UTC) - timedelta(**{_UNITS[match[2]]: int(match[1])})
    try:
        return datetime.fromisoformat(text).astimezone()
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time: use 15m, 24h, 7d or 2026-11-28T12:00:00Z") from None


def _parameter(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} has no value: use NAME=VALUE")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _health(client: Client, options: argparse.Namespace) -> int:
    health = client.health()
    rows = [[health.status, f"version {health.version}", f"up {timedelta(seconds=int(health.uptime_secs))}"]]
    _print(options, [asdict(health)], rows)
    return 0 if health.status == "ok" else 1


def _modules(client: Client, options: argparse.Namespace) -> int:
    modules = client.modules()
    rows = []
    for module in modules:
        actions = module.manifest["actions"] if module.manifest else []
        seen = "" if module.last_seen_at is None else _time(datetime.fromtimestamp(module.last_seen_at, UTC))
        rows.append([module.id, module.health, seen, " ".join(action["name"] for action in actions)])
    _print(options, map(asdict, modules), rows)
    return 0


def _readings(client: Client, options: argparse.Namespace) -> int:
    readings: Iterable[Reading]
    if options.type is None:
        latest = client.latest(options.module)
        readings = [reading for reading in latest if options.channel in (None, reading.channel or "")]
    else:
        readings = client.readings(
            options.type, module=options.module, channel=options.channel, since=options.since, limit=options.limit
        )
    readings = list(readings)
    rows = [
        [
            _time(reading.time),
            reading.module_id,
            reading.type if reading.channel is None else f"{reading.type}/{reading.channel}",
            f"{reading.value:g} {reading.unit}" if reading.value is not None else f"no value: {reading.reason}",
        ]
        for reading in readings
    ]
    _print(options, map(asdict, readings), rows)
    return 0


def _control(client: Client, options: argparse.Namespace) -> int:
    sent = client.control(options.module, options.action, dict(options.params))
    command: Command = client.wait(sent, timeout=options.wait)
    outcome = command.error or ("" if command.result is None else json.dumps(command.result))
    _print(options, [asdict(command)], [[command.state, outcome]])
    return 0 if command.succeeded else 1


def _print(options: argparse.Namespace, records: Iterable[dict[str, Any]], rows: list[list[str]]) -> None:
    if options.json:
        for record in records:
            print(json.dumps(record))
        return
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _time(moment: datetime) -> str:
    return moment.astimezone().isoformat(" ", "seconds")


_COMMANDS: dict[str, Callable[[Client, argparse.Namespace], int]] = {
    "health": _health,
    "modules": _modules,
    "readings": _readings,
    "control": _control,
}
