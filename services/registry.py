"""The registry as a folder: bundles by their hash, and aliases, which are files that hold one.

``live`` is what servers serve, ``previous`` what was live before; both are set together, and each change is a line in
``history.jsonl``. ``rollout.json`` names a candidate and the shares of streams that it gets. A server that watches the
folder follows both.
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from asr.bundle import DEFAULT_ALIAS, DESCRIPTION, bundles_folder, find_bundle, load_bundle
from asr.errors import BundleError

LIVE, PREVIOUS = "live", "previous"
HISTORY = "history.jsonl"
ROLLOUT = "rollout.json"
_LOCK = ".lock"


@dataclass(frozen=True, slots=True)
class Entry:
    """A bundle of the registry.

    Attributes:
        hash: the name of its folder, which its contents' hash begins with.
        aliases: that point to it.
        size_bytes: of its files.
        about: how it was made, as the bundle says; empty if that cannot be read.
    """

    hash: str
    aliases: tuple[str, ...]
    size_bytes: int
    about: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Change:
    """An alias that was set.

    Attributes:
        at: time, ISO 8601, UTC.
        alias: which.
        hash: to what.
        before: from what; empty if it was new.
        reason: why.
    """

    at: str
    alias: str
    hash: str
    before: str
    reason: str


@dataclass(frozen=True, slots=True)
class Rollout:
    """A candidate on trial.

    Attributes:
        hash: of the bundle.
        canary_share: of the streams it answers.
        shadow_share: of the streams it hears after they were answered.
    """

    hash: str
    canary_share: float = 0.0
    shadow_share: float = 0.0


class Registry:
    """Bundles and aliases in a folder.

    Args:
        folder: that holds them; by default that of the shipped bundles.
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        self.folder = Path(folder) if folder else bundles_folder()

    def begin(self) -> None:
        """Makes the folder a registry, if it is none yet, with the shipped bundle as the live one.

        Raises:
            BundleError: there is no shipped bundle, or the folder cannot be written.
        """
        if {LIVE, DEFAULT_ALIAS} & self.aliases().keys():
            return
        shipped = find_bundle(None)
        target = self.folder / shipped.name
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            partial = self.folder / f".{shipped.name}.partial-{os.getpid()}"
            if not target.is_dir():
                shutil.copytree(shipped, partial)
                with self._locked():  # another process may have been as far
                    if target.is_dir():
                        shutil.rmtree(partial)
                    else:
                        partial.rename(target)
        except OSError as error:
            raise BundleError(f"{self.folder}: cannot be made a registry ({error.strerror or error})") from error
        self.promote(shipped.name, "the shipped bundle")

    def entries(self) -> list[Entry]:
        """All bundles, sorted by hash."""
        aliases = self.aliases()
        found = []
        for path in sorted(self.folder.iterdir()) if self.folder.is_dir() else ():
            if not (path / DESCRIPTION).is_file():
                continue
            about: Mapping[str, Any] = {}
            with contextlib.suppress(OSError, ValueError):
                about = json.loads((path / DESCRIPTION).read_text(encoding="utf-8")).get("about", {})
            size = sum(file.stat().st_size for file in path.iterdir() if file.is_file())
            names = tuple(sorted(name for name, digest in aliases.items() if digest == path.name))
            found.append(Entry(path.name, names, size, about))
        return found

    def aliases(self) -> dict[str, str]:
        """What each alias points to."""
        if not self.folder.is_dir():
            return {}
        files = (path for path in self.folder.iterdir() if path.is_file() and "." not in path.name)
        return {path.name: path.read_text(encoding="utf-8").strip() for path in files}

    def live(self) -> str:
        """The hash that servers are to serve: the alias `live`, or else the shipped default; raises `BundleError`."""
        aliases = self.aliases()
        found = aliases.get(LIVE) or aliases.get(DEFAULT_ALIAS)
        if not found:
            raise BundleError(f"{self.folder}: has neither an alias {LIVE} nor {DEFAULT_ALIAS}; promote a bundle")
        return found

    def path(self, name: str) -> Path:
        """The folder of a bundle by (the beginning of) its hash or by alias; raises `BundleError`."""
        return find_bundle(self.folder / name)

    def promote(self, name: str, reason: str = "") -> Change:
        """Makes a bundle live, after checking that it is whole; the one before becomes `previous`.

        Raises:
            BundleError: there is no such bundle, or it is corrupt; nothing is changed.
        """
        bundle = load_bundle(self.path(name))
        with self._locked():
            before = self.live() if {LIVE, DEFAULT_ALIAS} & self.aliases().keys() else ""
            if before and before != bundle.path.name:
                self._set(PREVIOUS, before)
            change = self._set(LIVE, bundle.path.name)
            return self._note(Change(_now(), LIVE, bundle.path.name, before, reason)) if change else self._last(LIVE)

    def rollback(self, reason: str = "rollback") -> Change:
        """Makes the previous bundle live again; raises `BundleError` if there is none."""
        previous = self.aliases().get(PREVIOUS)
        if not previous:
            raise BundleError(f"{self.folder}: nothing was live before; there is nothing to go back to")
        return self.promote(previous, reason)

    def rollout(self) -> Rollout | None:
        """The candidate on trial, or None; raises `BundleError` if the file is damaged."""
        try:
            return Rollout(**json.loads((self.folder / ROLLOUT).read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError) as error:
            raise BundleError(f"{self.folder / ROLLOUT}: is damaged ({error}); delete it to end the trial") from error

    def set_rollout(self, rollout: Rollout | None) -> None:
        """Puts a bundle on trial, after checking that it is whole, or ends the trial.

        Raises:
            BundleError: there is no such bundle, it is corrupt, or a share is not within 0 and 1; nothing is changed.
        """
        if rollout is None:
            with self._locked():
                (self.folder / ROLLOUT).unlink(missing_ok=True)
            return
        for share in (rollout.canary_share, rollout.shadow_share):
            if not 0.0 <= share <= 1.0:
                raise BundleError(f"a share of {share:g} of the streams; accepted: 0 to 1")
        found = replace(rollout, hash=load_bundle(self.path(rollout.hash)).path.name)
        with self._locked():
            self._write(ROLLOUT, json.dumps(asdict(found)))

    def history(self) -> list[Change]:
        """All changes, oldest first; a line that a crash cut off is left out."""
        changes = []
        with contextlib.suppress(FileNotFoundError):
            for line in (self.folder / HISTORY).read_text(encoding="utf-8").splitlines():
                with contextlib.suppress(ValueError, TypeError):
                    changes.append(Change(**json.loads(line)))
        return changes

    def _set(self, alias: str, digest: str) -> bool:
        """Points an alias to a bundle, whole or not at all; whether that changed it."""
        path = self.folder / alias
        if path.is_file() and path.read_text(encoding="utf-8").strip() == digest:
            return False
        self._write(alias, digest)
        return True

    def _write(self, name: str, text: str) -> None:
        """Writes a file whole or not at all."""
        partial = self.folder / f".{name}.partial"
        with partial.open("w", encoding="utf-8") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
        partial.replace(self.folder / name)

    def _note(self, change: Change) -> Change:
        with (self.folder / HISTORY).open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(change)) + "\n")
            file.flush()
            os.fsync(file.fileno())
        return change

    def _last(self, alias: str) -> Change:
        digest = self.aliases()[alias]
        found = [change for change in self.history() if change.alias == alias and change.hash == digest]
        return found[-1] if found else Change(_now(), alias, digest, digest, "unchanged")

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """One writer at a time, of all processes."""
        with (self.folder / _LOCK).open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
