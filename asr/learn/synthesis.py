"""Speaks what was cast, in several processes; finished files are kept, so that a stopped run goes on where it was."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from asr import audio
from asr.corpus.manifest import Utterance, measured_duration_s, write_manifest
from asr.errors import AudioError
from asr.learn.casting import Line
from asr.synth.engine import loaded_engine, trim_silence
from asr.synth.espeak import phonemes
from asr.synth.kokoro import Kokoro, accent
from asr.synth.phones import is_arpabet, plain_to_ipa, to_ipa
from asr.synth.vocal_tract import lengthen
from asr.synth.voices import find
from asr.unknown.phones import PHONES

AUDIO = "audio"


def speak(line: Line) -> audio.Samples:
    """One line as samples of shape (T,), silence trimmed."""
    engine, voice = loaded_engine(line.engine), find(line.voice)
    if line.source in ("given", "rules", "flite") and isinstance(engine, Kokoro):
        samples = engine.speak_ipa(_ipa(line, accent(voice)), voice, line.speed)
    else:
        text = line.text.replace(line.name, line.said) if line.source == "heard" else line.text
        samples = engine.speak(text, voice, line.speed, line.pitch)
    return lengthen(trim_silence(samples), line.vocal_tract)


def speak_all(
    lines: Sequence[Line],
    folder: Path,
    *,
    jobs: int = 1,
    format_: str = "opus",
    progress: Callable[[int, int], None] = lambda *_: None,
) -> list[Utterance]:
    """Speaks what is not there yet into ``folder/audio``.

    Args:
        lines: to speak.
        folder: of the manifest to come.
        jobs: processes.
        format_: of the audio files.
        progress: called with (done, all).

    Returns:
        An utterance for each line, in their order, with paths relative to `folder`.
    """
    (folder / AUDIO).mkdir(parents=True, exist_ok=True)
    files = [folder / AUDIO / f"{line.digest}.{format_}" for line in lines]
    todo = [(line, path) for line, path in zip(lines, files, strict=True) if not _finished(path)]
    done = len(lines) - len(todo)
    progress(done, len(lines))
    for _ in _spoken(todo, jobs):
        done += 1
        progress(done, len(lines))
    return [_utterance(line, path, folder) for line, path in zip(lines, files, strict=True)]


def write_lines(lines: Sequence[Line], utterances: Sequence[Utterance], folder: Path) -> dict[str, Path]:
    """Writes a manifest for each split that has lines; returns their paths by split."""
    paths: dict[str, Path] = {}
    for split in sorted({line.split for line in lines}):
        chosen = [utterance for line, utterance in zip(lines, utterances, strict=True) if line.split == split]
        paths[split] = folder / f"{split}.jsonl"
        write_manifest(paths[split], chosen)
    return paths


def _ipa(line: Line, voice: str) -> str:
    """The phonemes of a query in which the name is said as given."""
    if line.source == "flite":
        flite = loaded_engine("flite")
        said = " ".join(to_ipa(flite.phones(word)) for word in line.name.split())  # type: ignore[attr-defined]
    else:
        said = as_ipa(line.said)
    before, _, after = line.text.partition(line.name)
    if after.startswith("'s"):
        said, after = said + ("ɪz" if said.endswith(("s", "z", "ʃ", "ʒ")) else "z"), after.removeprefix("'s")
    parts = [phonemes(before, voice) if before.strip() else "", said, phonemes(after, voice) if after.strip() else ""]
    return " ".join(part for part in parts if part)


def as_ipa(pronunciation: str) -> str:
    """A pronunciation in ARPAbet, in one character a phone (`asr.unknown.phones`) or in IPA, as IPA."""
    if is_arpabet(pronunciation):
        return to_ipa(pronunciation.split())
    if set(pronunciation.replace(" ", "")) <= set(PHONES):
        return " ".join(plain_to_ipa(word) for word in pronunciation.split())
    return pronunciation


def _spoken(todo: Sequence[tuple[Line, Path]], jobs: int) -> Iterator[None]:
    if jobs <= 1 or len(todo) < 2:
        for line, path in todo:
            _speak_to_file(line, path)
            yield
        return
    # Spawned and not forked: the engines' libraries and the caller may hold threads.
    with ProcessPoolExecutor(min(jobs, len(todo)), mp_context=multiprocessing.get_context("spawn")) as pool:
        futures = [pool.submit(_speak_to_file, line, path) for line, path in todo]
        try:
            for future in as_completed(futures):
                future.result()
                yield
        finally:
            for future in futures:
                future.cancel()


def _speak_to_file(line: Line, path: Path) -> None:
    """Speaks one line and renames the finished file into place."""
    partial = path.with_name(f".partial-{path.name}")
    audio.save(partial, speak(line))
    partial.replace(path)


def _finished(path: Path) -> bool:
    if not path.is_file():
        return False
    try:
        return measured_duration_s(path) > 0
    except AudioError:
        return False


def _utterance(line: Line, path: Path, folder: Path) -> Utterance:
    voice = find(line.voice)
    said = f" said={line.said}" if line.said else ""
    return Utterance(
        audio_filepath=str(path.relative_to(folder)),
        duration=round(measured_duration_s(path), 4),
        text=line.text,
        id=line.digest,
        speaker=line.voice,
        gender=voice.gender,
        accent=voice.accent,
        corpus="names",
        split=line.split,
        written=line.written if line.written != line.text else "",
        source=f"{line.voice} speed={line.speed} pitch={line.pitch} vocal_tract={line.vocal_tract} "
        f"pronunciation={line.source}{said}",
    )


def counts(values: Iterable[str]) -> dict[str, int]:
    """How often each occurs, most frequent first."""
    from collections import Counter

    return dict(Counter(values).most_common())
