# mypy: ignore-errors
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class ForgetRequest(_message.Message):
    __slots__ = ("user",)
    USER_FIELD_NUMBER: _ClassVar[int]
    user: str
    def __init__(self, user: _Optional[str] = ...) -> None: ...

class ForgetResponse(_message.Message):
    __slots__ = ("queries", "recordings", "training_rows", "bundles")
    QUERIES_FIELD_NUMBER: _ClassVar[int]
    RECORDINGS_FIELD_NUMBER: _ClassVar[int]
    TRAINING_ROWS_FIELD_NUMBER: _ClassVar[int]
    BUNDLES_FIELD_NUMBER: _ClassVar[int]
    queries: int
    recordings: int
    training_rows: int
    bundles: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, queries: _Optional[int] = ..., recordings: _Optional[int] = ..., training_rows: _Optional[int] = ..., bundles: _Optional[_Iterable[str]] = ...) -> None: ...
