"""What a client raises."""

from __future__ import annotations

import grpc

from asr.errors import DengarError

_INPUT_CODES = (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.OUT_OF_RANGE, grpc.StatusCode.UNIMPLEMENTED)

# grpc.aio puts this in place of the status when a refusal or a lost connection cuts off a send; the blocking client
# does not.
SEND_CUT_OFF = "Internal error from Core"


class SpeechServiceError(DengarError):
    """The server refused or failed; one sentence says why.

    Attributes:
        code: the gRPC status code.
        connection_lost: the connection broke, as far as can be told; another call may go through. A refusal that met
            a send looks the same to grpc.aio; asked again, it says why.
    """

    def __init__(self, message: str, code: grpc.StatusCode, *, connection_lost: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.connection_lost = connection_lost or code is grpc.StatusCode.UNAVAILABLE
        self.exit_code = 2 if code in _INPUT_CODES else 1


def error_of(error: grpc.RpcError, address: str) -> SpeechServiceError:
    """Turns gRPC's error into one sentence."""
    code = error.code() if isinstance(error, grpc.Call) else getattr(error, "code", lambda: None)()
    details = (error.details() if isinstance(error, grpc.Call) else getattr(error, "details", lambda: None)()) or ""
    if not isinstance(code, grpc.StatusCode):
        return SpeechServiceError(f"the call to {address} failed: {error}", grpc.StatusCode.UNKNOWN)
    if code is grpc.StatusCode.UNAVAILABLE and "connect" in details:
        return SpeechServiceError(f"no server answers at {address}; start one with: dengar serve", code)
    if code is grpc.StatusCode.UNAVAILABLE:
        return SpeechServiceError(f"the server at {address} is shutting down or the connection broke; try again", code)
    if code is grpc.StatusCode.DEADLINE_EXCEEDED and "lasted" not in details:
        return SpeechServiceError(f"{address} did not answer in time; allow more, or try again", code)
    if details == SEND_CUT_OFF:
        return SpeechServiceError(
            f"{address} ended the stream while audio was still being sent, or the connection broke; "
            "try again, at the pace of speech",
            code,
            connection_lost=True,
        )
    return SpeechServiceError(details or f"the call to {address} ended with {code.name}", code)
