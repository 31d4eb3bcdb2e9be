"""The registry as a folder: bundles by their hash, and aliases, which are files that hold one.

``live`` is what servers serve, ``previous`` what was live before, and each change is a line in ``history.jsonl``. The
three are written beside the old ones first and then take their places one after the other: a disk that is full
changes nothing, and a process that is killed between two of these steps leaves aliases that point to whole bundles,
which the next change makes right. ``rollout.json`` names a candidate and the shares of streams that it gets. A server
that watches the folder follows both.
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from asr.bundle import DEFAULT_ALIAS, DESCRIPTION, bundles_folder, find_bundle, load_bundle
from asr.errors import BundleError
from services.faults import crash_point

LIVE, PREVIOUS = "live", "previous"
HISTORY = "history.jsonl"
ROLLOUT = "rollout.json"
_LOCK = ".lock"
_HASH = re.compile(r"[\w-][\w.-]{0,254}")


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
            with self._locked():  # another process may have been as far
                partial = self.folder / f".{shipped.name}.partial"
                shutil.rmtree(partial, ignore_errors=True)  # of one that was killed
                if not target.is_dir():
                    shutil.copytree(shipped, partial)
                    crash_point("registry.copied")
                    partial.rename(target)
                    crash_point("registry.adopted")
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
        """What each alias points to; a file that holds no hash is none.

        Raises:
            BundleError: the folder cannot be read.
        """
        try:
            if not self.folder.is_dir():
                return {}
            files = [path for path in self.folder.iterdir() if path.is_file() and "." not in path.name]
            held = {path.name: path.read_bytes().decode("utf-8", errors="replace").strip() for path in files}
        except OSError as error:
            raise BundleError(f"{self.folder}: cannot be read ({error.strerror})") from error
        return {name: text for name, text in held.items() if _HASH.fullmatch(text)}

    def live(self) -> str:
        """The hash that servers are to serve: the alias `live`, or else the shipped default.

        Raises:
            BundleError: there is neither, the alias is damaged, or the folder cannot be read.
        """
        aliases = self.aliases()
        if LIVE not in aliases and (self.folder / LIVE).is_file():  # not the default instead: nobody wanted that
            raise BundleError(f"{self.folder / LIVE}: is damaged; promote a bundle again")
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
        wanted = load_bundle(self.path(name)).path.name
        with self._locked():
            aliases = self.aliases()
            before = aliases.get(LIVE) or aliases.get(DEFAULT_ALIAS, "")
            changes = {LIVE: wanted}
            if before and before != wanted:
                changes = {PREVIOUS: before, LIVE: wanted}
            if aliases.get(LIVE) == wanted and (noted := self._noted(wanted)) is not None:
                return noted
            change = Change(_now(), LIVE, wanted, before, reason)
            self._replace({**changes, HISTORY: self._history_with(change)})
        return change

    def rollback(self, reason: str = "rollback") -> Change:
        """Makes the previous bundle live again; raises `BundleError` if there is none."""
        aliases = self.aliases()
        previous = aliases.get(PREVIOUS, "")
        if previous and previous == aliases.get(LIVE):  # a promotion was killed between its two aliases
            noted = self._noted(previous)
            previous = noted.before if noted else ""
        if not previous:
            raise BundleError(f"{self.folder}: nothing was live before; there is nothing to go back to")
        return self.promote(previous, reason)

    def rollout(self) -> Rollout | None:
        """The candidate on trial, or None; raises `BundleError` if the file is damaged."""
        try:
            found = Rollout(**json.loads((self.folder / ROLLOUT).read_text(encoding="utf-8")))
            if not _HASH.fullmatch(found.hash):
                raise ValueError("it names no bundle")
            shares = (float(found.canary_share), float(found.shadow_share))
            return Rollout(found.hash, *shares)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise BundleError(f"{self.folder / ROLLOUT}: cannot be read ({error.strerror})") from error
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
            self._replace({ROLLOUT: json.dumps(asdict(found))})

    def history(self) -> list[Change]:
        """All changes, oldest first; a line that a crash cut off is left out."""
        changes = []
        with contextlib.suppress(FileNotFoundError):
            for line in (self.folder / HISTORY).read_text(encoding="utf-8", errors="replace").splitlines():
                with contextlib.suppress(ValueError, TypeError):
                    changes.append(Change(**json.loads(line)))
        return changes

    def _replace(self, texts: Mapping[str, str]) -> None:
        """Writes files, each whole or not at all, in this order; where one cannot be written, none is."""
        partials = {name: self.folder / f".{name}.partial" for name in texts}
        try:
            for name, text in texts.items():
                with partials[name].open("w", encoding="utf-8") as file:
                    file.write(text + "\n")
                    file.flush()
                    os.fsync(file.fileno())
        except OSError:
            for partial in partials.values():
                partial.unlink(missing_ok=True)
            raise
        crash_point("registry.written")
        for name, partial in partials.items():
            partial.replace(self.folder / name)
            if name == PREVIOUS:
                crash_point("registry.previous-set")
            elif name == LIVE:
                crash_point("registry.live-set")
        descriptor = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _history_with(self, change: Change) -> str:
        """The history with one more line; lines that cannot be read stay."""
        kept = ""
        with contextlib.suppress(FileNotFoundError):
            kept = (self.folder / HISTORY).read_text(encoding="utf-8", errors="replace").rstrip("\n")
        return "\n".join(filter(None, (kept, json.dumps(asdict(change)))))

    def _noted(self, digest: str) -> Change | None:
        """The last change of `live`, if it was to this bundle; a process that was killed may not have noted its own."""
        changes = [change for change in self.history() if change.alias == LIVE]
        return changes[-1] if changes and changes[-1].hash == digest else None

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """One writer at a time, of all processes; what the disk refuses is a `BundleError`."""
        try:
            with (self.folder / _LOCK).open("w") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                yield
        except OSError as error:
            raise BundleError(
                f"{self.folder}: the registry cannot be written ({error.strerror or error}); nothing is changed"
            ) from error


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
