"""Errors as gRPC statuses: the one place where the two meet.

A status carries the error's sentence and, as `google.rpc.ErrorInfo` in its details, the error's name, so that a
program can tell apart what a person reads.
"""

from __future__ import annotations

import logging
import uuid
from typing import Any, NoReturn

import grpc
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from asr.errors import BundleError, DengarError, InputError, MissingDependencyError
from services.recognizer.audio_in import AudioLimitError

DOMAIN = "dengar.v1"
log = logging.getLogger("dengar.recognizer")


class ProtocolError(InputError):
    """Messages in an order, or of a kind, that the contract forbids."""


class IdleError(DengarError):
    """A stream that sent nothing for too long."""


class CallTimeoutError(DengarError):
    """A call that lasted too long."""


class BusyError(DengarError):
    """The server has as many calls as it takes on."""


class StoppingError(DengarError):
    """The server takes no more calls, because it is about to end."""


# The first class that fits decides.
_CODES: tuple[tuple[type[DengarError], grpc.StatusCode], ...] = (
    (AudioLimitError, grpc.StatusCode.OUT_OF_RANGE),
    (InputError, grpc.StatusCode.INVALID_ARGUMENT),
    (IdleError, grpc.StatusCode.ABORTED),
    (CallTimeoutError, grpc.StatusCode.DEADLINE_EXCEEDED),
    (BusyError, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (StoppingError, grpc.StatusCode.UNAVAILABLE),
    (MissingDependencyError, grpc.StatusCode.UNIMPLEMENTED),
    (BundleError, grpc.StatusCode.FAILED_PRECONDITION),
)


def status_of(error: Exception) -> tuple[grpc.StatusCode, str]:
    """Returns the code and the sentence for an error.

    An error that nobody raised on purpose becomes INTERNAL with a reference; the log has the rest under it.
    """
    for kind, code in _CODES:
        if isinstance(error, kind):
            return code, str(error)
    reference = uuid.uuid4().hex[:12]
    log.error("internal error %s", reference, exc_info=error)
    return grpc.StatusCode.INTERNAL, f"the server failed; its log has the cause under {reference}"


async def abort(context: grpc.aio.ServicerContext[Any, Any], error: Exception) -> NoReturn:
    """Ends the call with the status of `error`."""
    code, message = status_of(error)
    info = any_pb2.Any()
    info.Pack(error_details_pb2.ErrorInfo(reason=type(error).__name__, domain=DOMAIN))
    status = rpc_status.to_status(status_pb2.Status(code=code.value[0], message=message, details=[info]))
    await context.abort(code, message, status.trailing_metadata)
    raise AssertionError("abort raises")
