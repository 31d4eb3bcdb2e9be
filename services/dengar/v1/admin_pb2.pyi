# mypy: ignore-errors
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GetStatusRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class PromoteRequest(_message.Message):
    __slots__ = ("bundle",)
    BUNDLE_FIELD_NUMBER: _ClassVar[int]
    bundle: str
    def __init__(self, bundle: _Optional[str] = ...) -> None: ...

class RollbackRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class SetCandidateRequest(_message.Message):
    __slots__ = ("bundle", "canary_share", "shadow_share")
    BUNDLE_FIELD_NUMBER: _ClassVar[int]
    CANARY_SHARE_FIELD_NUMBER: _ClassVar[int]
    SHADOW_SHARE_FIELD_NUMBER: _ClassVar[int]
    bundle: str
    canary_share: float
    shadow_share: float
    def __init__(self, bundle: _Optional[str] = ..., canary_share: _Optional[float] = ..., shadow_share: _Optional[float] = ...) -> None: ...

class ServedBundle(_message.Message):
    __slots__ = ("hash", "name", "streams", "rtf")
    HASH_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    STREAMS_FIELD_NUMBER: _ClassVar[int]
    RTF_FIELD_NUMBER: _ClassVar[int]
    hash: str
    name: str
    streams: int
    rtf: float
    def __init__(self, hash: _Optional[str] = ..., name: _Optional[str] = ..., streams: _Optional[int] = ..., rtf: _Optional[float] = ...) -> None: ...

class ServerStatus(_message.Message):
    __slots__ = ("live", "candidate", "previous_hash", "draining", "canary_share", "shadow_share", "shadow")
    LIVE_FIELD_NUMBER: _ClassVar[int]
    CANDIDATE_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_HASH_FIELD_NUMBER: _ClassVar[int]
    DRAINING_FIELD_NUMBER: _ClassVar[int]
    CANARY_SHARE_FIELD_NUMBER: _ClassVar[int]
    SHADOW_SHARE_FIELD_NUMBER: _ClassVar[int]
    SHADOW_FIELD_NUMBER: _ClassVar[int]
    live: ServedBundle
    candidate: ServedBundle
    previous_hash: str
    draining: _containers.RepeatedCompositeFieldContainer[ServedBundle]
    canary_share: float
    shadow_share: float
    shadow: ShadowResults
    def __init__(self, live: _Optional[_Union[ServedBundle, _Mapping]] = ..., candidate: _Optional[_Union[ServedBundle, _Mapping]] = ..., previous_hash: _Optional[str] = ..., draining: _Optional[_Iterable[_Union[ServedBundle, _Mapping]]] = ..., canary_share: _Optional[float] = ..., shadow_share: _Optional[float] = ..., shadow: _Optional[_Union[ShadowResults, _Mapping]] = ...) -> None: ...

class ShadowResults(_message.Message):
    __slots__ = ("utterances", "changed", "words", "word_differences", "left_out")
    UTTERANCES_FIELD_NUMBER: _ClassVar[int]
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    WORDS_FIELD_NUMBER: _ClassVar[int]
    WORD_DIFFERENCES_FIELD_NUMBER: _ClassVar[int]
    LEFT_OUT_FIELD_NUMBER: _ClassVar[int]
    utterances: int
    changed: int
    words: int
    word_differences: int
    left_out: int
    def __init__(self, utterances: _Optional[int] = ..., changed: _Optional[int] = ..., words: _Optional[int] = ..., word_differences: _Optional[int] = ..., left_out: _Optional[int] = ...) -> None: ...
