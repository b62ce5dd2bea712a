"""The exceptions: one tree under :class:`Error`, with one class for each problem kind of the hub.

Each class also inherits the matching builtin exception, so ``except TimeoutError`` works as usual.
"""

from __future__ import annotations

from typing import ClassVar


class Error(Exception):
    """The base class of all exceptions of this package.

    Attributes:
        kind: The problem's kind in the hub's list; ``None`` for an error without a request, or of a kind that this
            version does not know.
        detail: A sentence about this occurrence.
        pointer: The part of the request that is at fault (RFC 6901, such as ``/3/unit``), if it is one part.
        choices: The valid names, if they are few.
        request_id: The id of the request, which the hub's log has too.
        retry_after: The seconds after which a retry makes sense.
    """

    kind: ClassVar[str | None] = None

    def __init__(
        self,
        detail: str = "",
        *,
        pointer: str | None = None,
        choices: list[str] | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail: str = detail
        self.pointer: str | None = pointer
        self.choices: list[str] | None = choices
        self.request_id: str | None = request_id
        self.retry_after: float | None = retry_after

    def add(self, sentence: str) -> None:
        """Adds a sentence to the detail."""
        if sentence:
            self.detail = f"{self.detail.rstrip('.')}. {sentence}"

    def __str__(self) -> str:
        return f"{self.detail} (at {self.pointer})" if self.pointer else self.detail


class InvalidArgument(Error, ValueError):
    """An argument has the wrong form: not an id, not a number, not a known word."""

    kind: ClassVar[str | None] = "invalid_argument"


class Unauthenticated(Error, PermissionError):
    """The token is missing, wrong or revoked."""

    kind: ClassVar[str | None] = "unauthenticated"


class PermissionDenied(Error, PermissionError):
    """The caller is known but does not have the permission."""

    kind: ClassVar[str | None] = "permission_denied"


class NotFound(Error, LookupError):
    """The requested object does not exist, or not yet."""

    kind: ClassVar[str | None] = "not_found"


class Conflict(Error):
    """The state of the object has changed: a command that its module has received cannot be cancelled."""

    kind: ClassVar[str | None] = "conflict"


class TooLarge(Error, ValueError):
    """The request exceeds a documented limit."""

    kind: ClassVar[str | None] = "too_large"


class Unprocessable(Error, ValueError):
    """The request is well-formed but not valid: a unit that does not fit, an action the module does not offer."""

    kind: ClassVar[str | None] = "unprocessable"


class RateLimited(Error):
    """Too many requests; retry after :attr:`~Error.retry_after` seconds."""

    kind: ClassVar[str | None] = "rate_limited"


class Internal(Error):
    """An error inside the hub. Its log has the :attr:`~Error.request_id`."""

    kind: ClassVar[str | None] = "internal"


class Unavailable(Error, ConnectionError):
    """The hub is starting, stopping, overloaded or unreachable, or the server there is not a hub."""

    kind: ClassVar[str | None] = "unavailable"


class Timeout(Unavailable, TimeoutError):
    """The hub did not answer in time, or a command did not finish in time."""


class StorageFull(Error, OSError):
    """The hub's disk is full."""

    kind: ClassVar[str | None] = "storage_full"


class ModuleFailed(Error, RuntimeError):
    """A module could not continue, or did not stop in time; its devices may not be in their safe state."""


class Refused(Error):
    """Raised by a module that does not run an action, or not with these parameters.

    The command is then ``rejected``; after any other exception it is ``failed``.
    """


_CLASSES: dict[str, type[Error]] = {
    "timeout": Timeout,
    "module_failed": ModuleFailed,
    **{cls.kind: cls for cls in Error.__subclasses__() if cls.kind is not None},
}


def error_of(
    kind: str,
    detail: str,
    *,
    pointer: str | None = None,
    choices: list[str] | None = None,
    request_id: str | None = None,
    retry_after: float | None = None,
) -> Error:
    """Creates the exception for a kind; the native module calls it. An unknown kind of a newer hub is an `Error`."""
    cls = _CLASSES.get(kind, Error)
    return cls(detail, pointer=pointer, choices=choices, request_id=request_id, retry_after=retry_after)
