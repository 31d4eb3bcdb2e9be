# mypy: ignore-errors
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class SendFeedbackRequest(_message.Message):
    __slots__ = ("query_id", "corrected_text", "chosen_result", "retried_as", "accepted")
    QUERY_ID_FIELD_NUMBER: _ClassVar[int]
    CORRECTED_TEXT_FIELD_NUMBER: _ClassVar[int]
    CHOSEN_RESULT_FIELD_NUMBER: _ClassVar[int]
    RETRIED_AS_FIELD_NUMBER: _ClassVar[int]
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    query_id: str
    corrected_text: str
    chosen_result: str
    retried_as: str
    accepted: bool
    def __init__(self, query_id: _Optional[str] = ..., corrected_text: _Optional[str] = ..., chosen_result: _Optional[str] = ..., retried_as: _Optional[str] = ..., accepted: _Optional[bool] = ...) -> None: ...

class SendFeedbackResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
