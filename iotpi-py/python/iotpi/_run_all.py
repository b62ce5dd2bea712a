"""Several modules in one process."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from os import PathLike
from pathlib import Path

from ._signals import stop_on_signals
from .errors import InvalidArgument
from .module import Module


def run_all(
    *modules: Module,
    url: str | None = None,
    tokens: Mapping[str, str] | None = None,
    outbox: str | PathLike[str] | None = None,
) -> None:
    """Runs several modules in one process, each with threads of its own, until a signal ends all of them.

    If one of them fails, the others are stopped, too, and its exception is raised.

    Args:
        modules: Modules with different ids.
        url: The hub, as in :meth:`Module.run`.
        tokens: The token of each module, by its id; by default ``IOTPI_TOKEN`` for all. The token of a module
            belongs to that module alone.
        outbox: A directory in which each module has its outbox, in a folder named after its id.

    Raises:
        InvalidArgument: A module has no id, two have the same, or ``tokens`` lacks one.
        Error: As in :meth:`Module.run`.
    """
    ids = [module.id or "" for module in modules]
    if not ids or "" in ids or len(set(ids)) < len(ids):
        raise InvalidArgument("each of the modules needs an id of its own: Module(id)")
    if tokens is not None and (missing := [one for one in ids if one not in tokens]):
        raise InvalidArgument(f"`tokens` has no token for {', '.join(missing)}")
    failures: list[BaseException] = []

    def stop_all() -> None:
        for module in modules:
            module.stop()

    def run_one(module: Module, module_id: str) -> None:
        try:
            module.run(
                url=url,
                token=None if tokens is None else tokens[module_id],
                outbox=None if outbox is None else Path(outbox, module_id),
            )
        except BaseException as failure:
            failures.append(failure)
            stop_all()

    threads = [
        threading.Thread(target=run_one, args=(module, module_id), name=f"iotpi {module_id}")
        for module, module_id in zip(modules, ids, strict=True)
    ]
    with stop_on_signals(stop_all):
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    if failures:
        raise failures[0]
