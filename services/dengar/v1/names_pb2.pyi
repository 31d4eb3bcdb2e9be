# mypy: ignore-errors
import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class NameStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    NAME_STATUS_UNSPECIFIED: _ClassVar[NameStatus]
    WATCHED: _ClassVar[NameStatus]
    PROPOSED: _ClassVar[NameStatus]
    APPROVED: _ClassVar[NameStatus]
    LEARNED: _ClassVar[NameStatus]
    REJECTED: _ClassVar[NameStatus]
NAME_STATUS_UNSPECIFIED: NameStatus
WATCHED: NameStatus
PROPOSED: NameStatus
APPROVED: NameStatus
LEARNED: NameStatus
REJECTED: NameStatus

class Name(_message.Message):
    __slots__ = ("id", "text", "status", "mentions", "users", "first_heard", "last_heard", "spellings", "trend", "reason", "bundle_hash")
    ID_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    MENTIONS_FIELD_NUMBER: _ClassVar[int]
    USERS_FIELD_NUMBER: _ClassVar[int]
    FIRST_HEARD_FIELD_NUMBER: _ClassVar[int]
    LAST_HEARD_FIELD_NUMBER: _ClassVar[int]
    SPELLINGS_FIELD_NUMBER: _ClassVar[int]
    TREND_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_HASH_FIELD_NUMBER: _ClassVar[int]
    id: str
    text: str
    status: NameStatus
    mentions: int
    users: int
    first_heard: _timestamp_pb2.Timestamp
    last_heard: _timestamp_pb2.Timestamp
    spellings: _containers.RepeatedScalarFieldContainer[str]
    trend: float
    reason: str
    bundle_hash: str
    def __init__(self, id: _Optional[str] = ..., text: _Optional[str] = ..., status: _Optional[_Union[NameStatus, str]] = ..., mentions: _Optional[int] = ..., users: _Optional[int] = ..., first_heard: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., last_heard: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., spellings: _Optional[_Iterable[str]] = ..., trend: _Optional[float] = ..., reason: _Optional[str] = ..., bundle_hash: _Optional[str] = ...) -> None: ...

class Entity(_message.Message):
    __slots__ = ("name", "kind", "weight")
    NAME_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    name: str
    kind: str
    weight: float
    def __init__(self, name: _Optional[str] = ..., kind: _Optional[str] = ..., weight: _Optional[float] = ...) -> None: ...

class ImportNamesRequest(_message.Message):
    __slots__ = ("entities", "source")
    ENTITIES_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    entities: _containers.RepeatedCompositeFieldContainer[Entity]
    source: str
    def __init__(self, entities: _Optional[_Iterable[_Union[Entity, _Mapping]]] = ..., source: _Optional[str] = ...) -> None: ...

class ImportNamesResponse(_message.Message):
    __slots__ = ("added", "updated", "refused", "refused_count")
    ADDED_FIELD_NUMBER: _ClassVar[int]
    UPDATED_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    REFUSED_COUNT_FIELD_NUMBER: _ClassVar[int]
    added: int
    updated: int
    refused: _containers.RepeatedScalarFieldContainer[str]
    refused_count: int
    def __init__(self, added: _Optional[int] = ..., updated: _Optional[int] = ..., refused: _Optional[_Iterable[str]] = ..., refused_count: _Optional[int] = ...) -> None: ...

class ListNamesRequest(_message.Message):
    __slots__ = ("statuses", "limit")
    STATUSES_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    statuses: _containers.RepeatedScalarFieldContainer[NameStatus]
    limit: int
    def __init__(self, statuses: _Optional[_Iterable[_Union[NameStatus, str]]] = ..., limit: _Optional[int] = ...) -> None: ...

class ListNamesResponse(_message.Message):
    __slots__ = ("names",)
    NAMES_FIELD_NUMBER: _ClassVar[int]
    names: _containers.RepeatedCompositeFieldContainer[Name]
    def __init__(self, names: _Optional[_Iterable[_Union[Name, _Mapping]]] = ...) -> None: ...

class GetNameRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class AddNameRequest(_message.Message):
    __slots__ = ("text", "spellings")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    SPELLINGS_FIELD_NUMBER: _ClassVar[int]
    text: str
    spellings: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, text: _Optional[str] = ..., spellings: _Optional[_Iterable[str]] = ...) -> None: ...

class ApproveNameRequest(_message.Message):
    __slots__ = ("name", "text")
    NAME_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    name: str
    text: str
    def __init__(self, name: _Optional[str] = ..., text: _Optional[str] = ...) -> None: ...

class RejectNameRequest(_message.Message):
    __slots__ = ("name", "reason")
    NAME_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    name: str
    reason: str
    def __init__(self, name: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...
