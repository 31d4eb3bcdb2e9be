"""Who is held out of a training: whole speakers, at most a share, of every corpus."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr.corpus import AudioReader, Utterance
from asr.errors import TrainingError
from asr.train.batches import Item
from asr.train.held_out import hold_out, write_held_out

READER = AudioReader(Path())


def item(number: int, corpus: str, speaker: str, text: str = "a", duration: float = 3.0) -> Item:
    utterance = Utterance(f"{number}.wav", duration, text, id=str(number), corpus=corpus, speaker=speaker)
    return Item(READER, utterance, (1,))


def ids(items: list[Item]) -> set[str]:
    return {one.utterance.id for one in items}


@st.composite
def manifests(draw) -> list[list[Item]]:
    count = draw(st.integers(1, 120))
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    made = []
    for number in range(count):
        corpus = f"c{rng.integers(3)}"
        speaker = "" if corpus == "c0" else f"s{rng.integers(12)}"
        made.append(item(number, corpus, speaker, f"sentence {rng.integers(40)}", float(rng.uniform(1, 9))))
    cut = draw(st.integers(0, count))
    return [made[:cut], made[cut:]]


@given(manifests(), st.floats(0.02, 0.5), st.integers(0, 3))
def test_no_speaker_is_on_both_sides_and_no_corpus_loses_more_than_the_share(parts, share, seed) -> None:
    whole = [one for part in parts for one in part]
    try:
        division = hold_out(parts, share, seed)
    except TrainingError:
        return
    left = [one for part in division.manifests for one in part]
    assert ids(left) | ids(division.held_out) == ids(whole)
    assert len(left) + len(division.held_out) == len(whole)
    for part, before in zip(division.manifests, parts, strict=True):
        assert part == [one for one in before if one.utterance.id in ids(part)]

    def units(items: list[Item]) -> set[tuple[str, str]]:
        rows = [one.utterance for one in items]
        return {(row.corpus, row.speaker or f"text {row.text}") for row in rows}

    assert not units(left) & units(division.held_out)
    for corpus in ("c0", "c1", "c2"):
        held = sum(one.utterance.duration for one in division.held_out if one.utterance.corpus == corpus)
        assert held <= share * sum(one.utterance.duration for one in whole if one.utterance.corpus == corpus) + 1e-6
    assert hold_out(parts, share, seed).held_out == division.held_out


def test_a_speaker_stays_away_when_others_join() -> None:
    first = [item(i, "c", f"s{i // 5}") for i in range(500)]
    more = [item(500 + i, "c", f"t{i // 5}") for i in range(500)]
    before, after = (hold_out([part], 0.1, 1) for part in (first, [*first, *more]))
    speakers = {one.utterance.speaker for one in before.held_out}
    assert len(speakers) == 10
    assert len(speakers & {one.utterance.speaker for one in after.held_out}) >= 5


def test_what_is_to_be_known_of_it_is_said() -> None:
    many = [item(i, "many", f"s{i // 2}", text=f"t{i}") for i in range(100)]
    few = [item(100 + i, "few", f"s{i % 2}", text=f"t{i}") for i in range(10)]
    division = hold_out([many, few], 0.1, 1)
    assert {one.utterance.corpus for one in division.held_out} == {"many"}
    amount, untouched, *rest = division.notes
    assert amount == "held out of the training: 10 utterances, 0.5 minutes, 5 known speakers"
    assert untouched == "nobody speaks little enough to be held out in: few"
    known = {one.utterance.text for one in few}
    shared = sum(one.utterance.text in known for one in division.held_out)
    assert rest == ([f"{shared} of 10 held-out utterances have a sentence that is trained on too"] if shared else [])
    with pytest.raises(TrainingError, match=r"held_out_share: nobody speaks as little as 10 % of a corpus"):
        hold_out([few], 0.1, 1)


def test_manifests_lead_to_the_audio_from_where_they_lie(tmp_path: Path) -> None:
    reader = AudioReader(tmp_path / "speech")
    plain = Item(reader, Utterance("a/1.wav", 2.0, "one", id="1", corpus="c", speaker="x"), (1,))
    packed = Item(reader, Utterance("2.opus", 2.0, "two", id="2", corpus="c", speaker="y", shard="t.tar"), (1,))
    folder = tmp_path / "runs" / "mine"
    folder.mkdir(parents=True)
    write_held_out(folder, [packed], [plain], seed=1)
    held_out, trained = ((folder / name).read_text() for name in ("held-out.jsonl", "trained-on.jsonl"))
    assert '"audio_filepath": "../../speech/a/1.wav"' in held_out
    assert '"audio_filepath": "2.opus"' in trained
    assert '"shard": "../../speech/t.tar"' in trained
