"""Phrase hints of a request, and sets of them that are stored under names."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import grpc
from google.protobuf import json_format

from asr.errors import ConfigError, DengarError, InputError
from services.dengar.v1 import speech_pb2 as pb
from services.dengar.v1 import speech_pb2_grpc
from services.faults import crash_point
from services.recognizer.status import DamagedError, StorageError, abort

MAX_SETS = 1_000
"""Of one owner."""
MAX_SET_BYTES = 2 * 2**20
MAX_IN_REQUEST = 5_000
_NAME = re.compile(r"[a-z0-9_-]{1,64}")
log = logging.getLogger("dengar.recognizer")
PHRASES = pb.DESCRIPTOR.services_by_name["Phrases"].full_name

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


class UnknownPhraseSetError(InputError):
    """A name under which no set is stored."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Hints as a request has them.

    Attributes:
        phrases: texts and boosts.
        classes: items by name.
    """

    phrases: tuple[tuple[str, float], ...] = ()
    classes: Mapping[str, Sequence[str]] | None = None

    def __bool__(self) -> bool:
        return bool(self.phrases)


def wanted_of(config: pb.RecognitionConfig, stored: Callable[[str], pb.PhraseSet]) -> Wanted:
    """The hints of a request, with the sets that it names.

    Args:
        config: of the request.
        stored: gives a set by name.

    Raises:
        UnknownPhraseSetError: no set has that name.
        ConfigError: more phrases than a request may hint at.
    """
    phrases = [(phrase, context.boost) for context in config.speech_contexts for phrase in context.phrases]
    sets = [*config.adaptation.phrase_sets, *map(stored, config.adaptation.phrase_set_references)]
    classes: dict[str, list[str]] = {}
    for each in sets:
        phrases += [(phrase.value, phrase.boost or each.boost) for phrase in each.phrases]
    for custom in (*(custom for each in sets for custom in each.custom_classes), *config.adaptation.custom_classes):
        classes.setdefault(custom.name, []).extend(item.value for item in custom.items)
    given = len(phrases) + sum(map(len, classes.values()))
    if given > MAX_IN_REQUEST:
        raise ConfigError(f"{given} phrases and items of classes were given; at most {MAX_IN_REQUEST} are accepted")
    return Wanted(tuple(phrases), classes)


class PhraseStore:
    """Sets as files in a folder, one folder for each owner; a set is written whole or not at all.

    All methods block, and raise `StorageError` where the disk is full or the folder cannot be used.

    Args:
        folder: made when first needed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, owner: str, phrase_set: pb.PhraseSet) -> None:
        """Stores a set in place of one with the same name; raises `ConfigError` if it breaks a bound."""
        path = self._path(owner, phrase_set.name)
        text = json_format.MessageToJson(phrase_set, preserving_proto_field_name=True)
        if len(text) > MAX_SET_BYTES:
            raise ConfigError(f"phrase set {phrase_set.name!r} has {len(text)} bytes; at most {MAX_SET_BYTES}")
        with _stored(path), _locked(path.parent):
            if not path.exists() and len(list(path.parent.glob("*.json"))) >= MAX_SETS:
                raise ConfigError(f"{MAX_SETS} phrase sets are stored; delete one first")
            _write(path, text)

    def get(self, owner: str, name: str) -> pb.PhraseSet:
        """A stored set; raises `UnknownPhraseSetError`, or `DamagedError` where its file is damaged."""
        path = self._path(owner, name)
        with _stored(path):
            try:
                text = path.read_bytes()
            except FileNotFoundError:
                raise UnknownPhraseSetError(f"no phrase set called {name!r} is stored; put it first") from None
        try:
            return json_format.Parse(text, pb.PhraseSet())
        except (ValueError, json_format.ParseError) as error:
            raise DamagedError(f"phrase set {name!r} is damaged in the store; put it again") from error

    def names(self, owner: str) -> dict[str, int]:
        """The names of an owner's sets, sorted, with their numbers of phrases; damaged ones have none."""
        found = {}
        with _stored(self._folder(owner)):
            paths = sorted(self._folder(owner).glob("*.json"))
        for path in paths:
            found[path.stem] = 0
            with contextlib.suppress(DengarError):
                found[path.stem] = len(self.get(owner, path.stem).phrases)
        return found

    def delete(self, owner: str, name: str) -> None:
        """Forgets a set; raises `UnknownPhraseSetError`."""
        path = self._path(owner, name)
        with _stored(path):
            try:
                path.unlink()
            except FileNotFoundError:
                raise UnknownPhraseSetError(f"no phrase set called {name!r} is stored") from None

    def _folder(self, owner: str) -> Path:
        return self.folder / hashlib.sha256(owner.encode()).hexdigest()[:16]

    def _path(self, owner: str, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise ConfigError(f"phrase set name {name!r}: write 1 to 64 of a-z, 0-9, - and _")
        return self._folder(owner) / f"{name}.json"


@contextlib.contextmanager
def _stored(path: Path) -> Iterator[None]:
    """Turns what the operating system says of a file into one sentence."""
    try:
        yield
    except OSError as error:
        log.error("phrase sets in %s cannot be used: %s", path.parent, error.strerror)
        raise StorageError(
            f"phrase sets cannot be stored or read at present ({error.strerror}); try again later"
        ) from error


def _write(path: Path, text: str) -> None:
    """Writes a file whole or not at all; for one writer at a time."""
    partial = path.with_name(f".{path.name}.partial")  # what a killed writer left of it is written over
    try:
        with partial.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        crash_point("phrases.written")
        partial.replace(path)
        crash_point("phrases.replaced")
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One writer of an owner's sets at a time, of all processes."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (folder / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


class PhrasesService(speech_pb2_grpc.PhrasesServicer):
    """Answers the calls of `dengar.v1.Phrases`; each caller sees only what it stored.

    Args:
        store: where the sets are.
        owner: names the caller of the current call.
        unused: tells which phrases of a set the served bundle cannot use, and why.
    """

    def __init__(
        self, store: PhraseStore, owner: Callable[[], str], unused: Callable[[Wanted], Sequence[tuple[str, str]]]
    ) -> None:
        self._store, self._owner, self._unused = store, owner, unused

    async def PutPhraseSet(self, request: pb.PutPhraseSetRequest, context: Context) -> pb.PutPhraseSetResponse:  # noqa: N802
        """Stores a set."""
        try:
            adaptation = pb.SpeechAdaptation(phrase_sets=[request.phrase_set])
            wanted = wanted_of(pb.RecognitionConfig(adaptation=adaptation), _none_stored)
            await asyncio.to_thread(self._store.put, self._owner(), request.phrase_set)
            unused = await asyncio.to_thread(self._unused, wanted)
            return pb.PutPhraseSetResponse(unused_phrases=unused_messages(unused))
        except Exception as error:
            await abort(context, error)

    async def GetPhraseSet(self, request: pb.GetPhraseSetRequest, context: Context) -> pb.PhraseSet:  # noqa: N802
        """Returns a set."""
        try:
            return await asyncio.to_thread(self._store.get, self._owner(), request.name)
        except Exception as error:
            await abort(context, error)

    async def ListPhraseSets(  # noqa: N802
        self,
        request: pb.ListPhraseSetsRequest,  # noqa: ARG002
        context: Context,
    ) -> pb.ListPhraseSetsResponse:
        """Lists the caller's sets."""
        try:
            names = await asyncio.to_thread(self._store.names, self._owner())
            entries = [pb.ListPhraseSetsResponse.Entry(name=name, phrases=count) for name, count in names.items()]
            return pb.ListPhraseSetsResponse(phrase_sets=entries)
        except Exception as error:
            await abort(context, error)

    async def DeletePhraseSet(  # noqa: N802
        self, request: pb.DeletePhraseSetRequest, context: Context
    ) -> pb.DeletePhraseSetResponse:
        """Forgets a set."""
        try:
            await asyncio.to_thread(self._store.delete, self._owner(), request.name)
            return pb.DeletePhraseSetResponse()
        except Exception as error:
            await abort(context, error)


def unused_messages(unused: Sequence[tuple[str, str]]) -> list[pb.UnusedPhrase]:
    """Phrases that could not be used, as messages."""
    return [pb.UnusedPhrase(phrase=phrase, reason=reason) for phrase, reason in unused]


def _none_stored(name: str) -> pb.PhraseSet:
    raise UnknownPhraseSetError(f"a phrase set holds phrases, not the name of another ({name!r})")
