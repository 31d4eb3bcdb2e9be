"""The end of the demo: a name that nobody taught the bundle is asked for, noticed, served, learned and live."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from rich.console import Console
from rich.text import Text

from asr import audio
from asr.corpus.manifest import Utterance
from asr.errors import DengarError
from asr.learn.probe import probe_lines, speak_probe
from asr.learn.synthesis import speak_all
from services.learner.bench_names import user_lines
from services.learner.trial import FAST, Caller, has_canary, learn_now, statuses, wait_until, worker_process
from services.load.server import Identity, Running, served
from services.registry import Registry
from services.store.audit import trail
from services.store.database import Store

NAME = "masashi kishimoto"
"""Whom the shipped bundle does not know."""
USERS = 9
NOTICED_S = 60.0
NEIGHBOURS = ("unai emery", "taylor swift", "barack obama", "olga tokarczuk", "virat kohli", "katie ledecky")
"""Others in the catalogue of names that people may ask for."""


@dataclass(frozen=True, slots=True)
class Story:
    """What became of the name.

    Attributes:
        name: it.
        before: the query as it was understood before anybody had asked for it.
        at_once: as it was understood, by another voice, once it was noticed.
        for_good: by a third, once the new bundle was live.
        noticed: whether the loop noticed it by itself.
        noticed_s: seconds from the first query until it was served.
        live_s: until the bundle that learned it was live.
        passed: the gate.
        same_server: what answered the last query is the process that answered the first.
    """

    name: str
    before: str
    at_once: str
    for_good: str
    noticed: bool
    noticed_s: float
    live_s: float
    passed: bool
    same_server: bool

    @property
    def holds(self) -> bool:
        """Whether the story ended as it should."""
        recognised = self.name in self.at_once and self.name in self.for_good
        return self.name not in self.before and recognised and self.passed and self.same_server


def tell_story(folder: Path, console: Console, jobs: int, name: str = NAME) -> Story:
    """Runs server, store and worker, lets users ask for a name, and prints what happens.

    Args:
        folder: of everything that is made.
        console: where it is told.
        jobs: processes that speak.
        name: as spoken; the live bundle must not know it.

    Raises:
        DengarError: a process fails, or the loop does not come to an end.
    """
    teller = _Teller(console, name)
    probe = probe_lines([name], kokoro=3, flite=0, seed=0)
    voices = [
        audio.load(path) for path in _paths(folder / "probe", speak_probe(probe, folder / "probe", jobs).utterances)
    ]
    asked = user_lines([name], USERS, 0)
    users = [audio.load(path) for path in _paths(folder / "users", speak_all(asked, folder / "users", jobs=jobs))]
    registry = Registry(folder / "registry")
    registry.begin()
    url = f"sqlite:///{folder / 'store' / 'dengar.db'}"
    store = Store.open(url)
    with contextlib.ExitStack() as stack:
        stack.callback(store.close)
        teller.command(f"dengar serve --store {url} --registry {registry.folder}")
        options = ("--store", url, "--registry", str(registry.folder), "--state", str(folder / "server"))
        server = stack.enter_context(served(*options))
        caller = Caller(stack.enter_context(grpc.insecure_channel(server.address)))
        teller.command(f"dengar learn run --store {url} --registry {registry.folder}")
        # What is yours stays out of the demo: it learns and judges by the sets that were made for it.
        without = {key: value for key, value in os.environ.items() if key != "DENGAR_DATA"}
        stack.enter_context(worker_process(url, registry.folder, folder / "work", FAST, environment=without))
        first = server.identity()
        before = teller.query("one voice asks", probe[0].text, caller.words(voices[0]))
        caller.catalogue([name, *NEIGHBOURS])
        began = time.monotonic()
        for number, samples in enumerate(users):
            teller.query(f"user {number + 1} asks", asked[number].text, caller.ask(samples, f"user {number}"))
        noticed = _notice(store, caller, teller)
        noticed_s = time.monotonic() - began
        teller.say(f"served to every stream {noticed_s:.0f} s after the first query", "bold")
        at_once = teller.query("another voice asks", probe[1].text, caller.words(voices[1]))
        teller.say("now for good: spoken by many voices, put into the language model, tested, let in ...", "bold")
        job = _learn(store, registry, caller, teller)
        live_s = time.monotonic() - began
        teller.say(f"bundle {registry.live()} is live {live_s:.0f} s after the first query", "bold")
        for_good = teller.query("a third voice asks", probe[2].text, caller.words(voices[2]))
        same = _is_still(server, first)
        teller.trail(store, job["bundle"])
    passed = bool(job["verdict"]["passed"])
    return Story(name, before, at_once, for_good, noticed, noticed_s, live_s, passed, same)


def _is_still(server: Running, first: Identity) -> bool:
    """Whether a server is the process that it was; not if it has gone."""
    try:
        return server.identity() == first
    except DengarError:
        return False


def _notice(store: Store, caller: Caller, teller: _Teller) -> bool:
    """Waits until the name is served; whether the loop noticed it, or a person had to add it."""
    noticed = True
    try:
        wait_until(lambda: statuses(store, [teller.name]) == {"approved"}, NOTICED_S, "the name to be noticed")
    except DengarError:
        noticed = False
        teller.say("nobody noticed, so a person adds it", "yellow")
        teller.command(f"dengar names add {teller.name!r}")
        caller.add(teller.name)
    time.sleep(1.5)  # the server looks for names every second
    return noticed


def _learn(store: Store, registry: Registry, caller: Caller, teller: _Teller) -> dict[str, Any]:
    """Asks for the name to be learned and waits until the server serves what came of it, if it passed the gate."""
    teller.command(f"dengar learn request {teller.name!r}")
    job = learn_now(store, [teller.name], "demo")
    passed = job["verdict"]["passed"]
    for reason in job["verdict"]["reasons"]:
        teller.say(f"  gate: {reason}", "green" if passed else "red")
    if passed:
        wait_until(lambda: not has_canary(store), 120.0, "the new bundle to be live")
        wait_until(lambda: caller.bundle().startswith(registry.live()), 60.0, "the server to serve it")
    return job


def _paths(folder: Path, rows: Sequence[Utterance]) -> list[Path]:
    return [folder / row.audio_filepath for row in rows]


class _Teller:
    """Prints the story of a name."""

    def __init__(self, console: Console, name: str) -> None:
        self.name = name
        self._console = console

    def say(self, line: str, style: str = "") -> None:
        self._console.print(Text(line, style=style), soft_wrap=True)

    def command(self, line: str) -> None:
        self.say(f"$ {line}", "cyan")

    def query(self, who: str, said: str, heard: str) -> str:
        """What somebody said, and what was heard; gives the latter."""
        self.say(f"  {who:20}{said}")
        self.say(f"  {'':20}{heard or '(no words)'}", "green" if self.name in heard else "yellow")
        return heard

    def trail(self, store: Store, bundle: str) -> None:
        """What led to a bundle."""
        self.command(f"dengar names show {self.name!r}")
        with store.reading() as session:
            for entry in trail(session, bundle):
                cause = f"because of {entry.cause[:12]}" if entry.cause not in ("", entry.subject) else ""
                self.say(f"  {entry.at:%H:%M:%S}  {entry.action:18} {entry.subject[:12]:12}  {cause}")
