"""Errors as gRPC statuses: the one place where the two meet.

A status carries the error's sentence and, as `google.rpc.ErrorInfo` in its details, the error's name, so that a
program can tell apart what a person reads. Where waiting helps, `google.rpc.RetryInfo` says how long.
"""

from __future__ import annotations

import logging
import math
import uuid
from typing import Any, NoReturn

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from asr.errors import BundleError, DengarError, InputError, MissingDependencyError, NotFoundError
from services.recognizer.audio_in import AudioLimitError
from services.store.errors import StoreError

DOMAIN = "dengar.v1"
MAX_SENTENCE = 1000
"""Characters of a status; what quotes a long request is cut, because a status travels in headers, which are bounded."""

log = logging.getLogger("dengar.recognizer")


class ProtocolError(InputError):
    """Messages in an order, or of a kind, that the contract forbids."""


class IdleError(DengarError):
    """A stream that sent nothing for too long."""


class SlowError(DengarError):
    """Audio that comes too slowly to be live speech."""


class StalledError(DengarError):
    """The recogniser did not come back in time."""


class CallTimeoutError(DengarError):
    """A call that lasted too long."""


class StorageError(DengarError):
    """The server cannot write or read what it keeps: a full disk, a folder that is gone."""


class DamagedError(DengarError):
    """What the server keeps is not what it wrote."""


class RefusalError(DengarError):
    """A call that is not admitted.

    Attributes:
        cause: one word for programs, audit and metrics, as `unknown_key` or `streams`.
        retry_after_s: when to try again, or None where waiting does not help.
    """

    def __init__(self, message: str, cause: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.cause = cause
        self.retry_after_s = retry_after_s


class UnauthenticatedError(RefusalError):
    """A call without a key, or with one that is not valid."""


class ForbiddenError(RefusalError):
    """A key that is valid, for other calls."""


class QuotaError(RefusalError):
    """The caller has used what it may."""


class BusyError(RefusalError):
    """The server has as many calls as it takes on."""

    def __init__(self, message: str, cause: str = "busy", retry_after_s: float = 1.0) -> None:
        super().__init__(message, cause, retry_after_s)


class NothingKeptError(DengarError):
    """The server was started without a store."""

    def __init__(self) -> None:
        super().__init__("this server keeps nothing; start it with --store URL")


class UnsettledError(DengarError):
    """What is asked about is still on its way into the store."""


class StoppingError(RefusalError):
    """The server takes no more calls, because it is about to end."""

    def __init__(self, message: str, cause: str = "stopping") -> None:
        super().__init__(message, cause)


# The first class that fits decides.
_CODES: tuple[tuple[type[DengarError], grpc.StatusCode], ...] = (
    (AudioLimitError, grpc.StatusCode.OUT_OF_RANGE),
    (NotFoundError, grpc.StatusCode.NOT_FOUND),
    (InputError, grpc.StatusCode.INVALID_ARGUMENT),
    (IdleError, grpc.StatusCode.ABORTED),
    (SlowError, grpc.StatusCode.ABORTED),
    (StalledError, grpc.StatusCode.UNAVAILABLE),
    (StorageError, grpc.StatusCode.UNAVAILABLE),
    (DamagedError, grpc.StatusCode.DATA_LOSS),
    (CallTimeoutError, grpc.StatusCode.DEADLINE_EXCEEDED),
    (UnauthenticatedError, grpc.StatusCode.UNAUTHENTICATED),
    (ForbiddenError, grpc.StatusCode.PERMISSION_DENIED),
    (QuotaError, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (BusyError, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (StoppingError, grpc.StatusCode.UNAVAILABLE),
    (MissingDependencyError, grpc.StatusCode.UNIMPLEMENTED),
    (NothingKeptError, grpc.StatusCode.FAILED_PRECONDITION),
    (UnsettledError, grpc.StatusCode.UNAVAILABLE),
    (BundleError, grpc.StatusCode.FAILED_PRECONDITION),
)


def status_of(error: Exception) -> tuple[grpc.StatusCode, str]:
    """Returns the code and the sentence for an error.

    An error that nobody raised on purpose becomes INTERNAL with a reference; the log has the rest under it. So does one
    of the store, but UNAVAILABLE: what it says of paths and databases is not for callers.
    """
    for kind, code in _CODES:
        if isinstance(error, kind):
            sentence = str(error)
            return code, sentence if len(sentence) <= MAX_SENTENCE else f"{sentence[:MAX_SENTENCE]} ..."
    reference = uuid.uuid4().hex[:12]
    if isinstance(error, StoreError):
        log.error("the store failed (%s): %s", reference, error, extra={"reference": reference})
        return (
            grpc.StatusCode.UNAVAILABLE,
            f"the store does not answer; try again (its log has the cause under {reference})",
        )
    log.error("internal error %s", reference, exc_info=error, extra={"reference": reference})
    return grpc.StatusCode.INTERNAL, f"the server failed; its log has the cause under {reference}"


async def abort(context: grpc.aio.ServicerContext[Any, Any], error: Exception) -> NoReturn:
    """Ends the call with the status of `error`."""
    code, message = status_of(error)
    status = rpc_status.to_status(status_pb2.Status(code=code.value[0], message=message, details=_details(error)))
    try:
        await context.abort(code, message, status.trailing_metadata)
    except grpc.aio.AbortError as aborted:
        raise aborted from error  # for the interceptors
    raise AssertionError("abort raises")


def _details(error: Exception) -> list[any_pb2.Any]:
    info = error_details_pb2.ErrorInfo(reason=type(error).__name__, domain=DOMAIN)
    details: list[Any] = [info]
    if isinstance(error, RefusalError):
        info.metadata["cause"] = error.cause
        if error.retry_after_s is not None:
            delay = duration_pb2.Duration()
            delay.FromMilliseconds(math.ceil(1000 * error.retry_after_s))
            details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    packed = [any_pb2.Any() for _ in details]
    for each, detail in zip(packed, details, strict=True):
        each.Pack(detail)
    return packed
