import gzip
import json
import zlib
from pathlib import Path

import pytest

from asr.decode import LanguageModel
from asr.decode.lm_recipe import Recipe, build, main
from asr.decode.lm_sphinx import read_sphinx
from asr.errors import ConfigError

RECIPE = """
order: 2
drop: "(^| )th( |$)"
sources:
  - {name: asked, file: queries.tsv.gz, tagged: true, held_out: 4, licence: "CC0"}
  - {name: read, file: read.txt, licence: "CC BY 4.0"}
"""


@pytest.fixture
def texts(tmp_path):
    queries = [f"play {word} music" for word in ["jazz", "rock", "pop", "folk", "funk", "soul", "blues", "swing"]]
    with gzip.open(tmp_path / "queries.tsv.gz", "wt") as file:
        for query in [*queries, "meet me on the th", "Digits 12"]:
            file.write(f"asked\t{query}\n")
        file.write("other\tnot this one\n")
    (tmp_path / "read.txt").write_text("once upon a time\nthe dev sentence\n\n")
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    row = {"audio_filepath": "a.wav", "duration": 1.0, "text": "the dev sentence", "corpus": "read-dev"}
    (tmp_path / "dev.jsonl").write_text(json.dumps(row) + "\n")
    return tmp_path, queries


def test_recipe_builds_and_accounts_for_every_sentence(texts, capsys):
    folder, queries = texts
    out = folder / "out" / "lm.arpa.gz"
    arguments = [str(folder / "recipe.yaml"), "--texts", str(folder), "--out", str(out)]
    assert main([*arguments, "--dev", str(folder / "dev.jsonl")]) == 0
    result = json.loads(capsys.readouterr().out)
    held = [query for query in queries if zlib.crc32(query.encode()) % 4 == 0]
    assert 0 < len(held) < len(queries)
    assert result["sentences"] == {"asked": len(queries) - len(held), "read": 1}
    assert result["left_out"] == {"dev sentence": 1, "dropped by pattern": 1, "not in a-z ' and space": 1}
    assert result["fits"]["asked"]["sentences"] == len(held)
    assert result["fits"]["read-dev"]["oov_rate"] == 1.0
    assert result["bytes"] == out.stat().st_size
    lm = LanguageModel.load(out)
    assert "music" in lm
    assert "once" in lm
    assert "dev" not in lm
    assert "th" not in lm
    assert "one" not in lm
    assert "read: CC BY 4.0" in (out.parent / "NOTICE").read_text()


def test_a_missing_text_is_one_line(texts, capsys):
    folder, _ = texts
    (folder / "read.txt").unlink()
    arguments = [str(folder / "recipe.yaml"), "--texts", str(folder), "--out", str(folder / "lm.arpa")]
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert "read.txt" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("sources: []", "sources"),
        ("ordr: 3", "field required|not permitted"),
        ("[1", "cannot be read"),
        ("", "cannot be read"),
    ],
)
def test_a_bad_recipe_names_the_key(tmp_path, text, reason):
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(ConfigError, match=reason):
        Recipe.load(tmp_path / "bad.yaml")


def test_default_recipe_is_valid():
    from pathlib import Path

    recipe = Recipe.load(Path(__file__).parents[3] / "experiments" / "lm-default.yaml")
    assert any("BY-SA" in source.licence for source in recipe.sources)


def test_sentences_with_held_out_words_and_their_possessives_are_left_out(texts):
    folder, queries = texts
    (folder / "read.txt").write_text("once upon a time\na time's end\nupon folks\n")
    recipe = Recipe.load(folder / "recipe.yaml")
    built = build(recipe, folder, folder / "lm.arpa", without=("time", "folk"))
    held = [query for query in queries if zlib.crc32(query.encode()) % 4 == 0]
    folk = "play folk music" in queries
    assert built.left_out["holds a held-out word"] == 2 + folk
    assert built.sentences["read"] == 1
    assert sum(built.sentences.values()) == len(set(queries) - set(held) - {"play folk music"}) + 1
    lm = LanguageModel.load(folder / "lm.arpa")
    assert "folks" in lm
    assert not {"time", "time's", "folk"} & set(lm.words)


def test_a_background_model_brings_its_words(texts, capsys, monkeypatch):
    folder, _ = texts
    packed = (Path(__file__).parent / "data" / "lm_sphinx.bin.gz").read_bytes()
    (folder / "general.bin").write_bytes(gzip.decompress(packed))
    monkeypatch.setenv("GENERAL", str(folder / "general.bin"))
    background = "background: {name: general, file: $GENERAL, weight: 0.6, rarest: -2.5, licence: BSD}\n"
    (folder / "recipe.yaml").write_text(RECIPE + background)
    arguments = [str(folder / "recipe.yaml"), "--texts", str(folder), "--out", str(folder / "lm.arpa")]
    assert main(arguments) == 0
    lm = LanguageModel.load(folder / "lm.arpa")
    general = read_sphinx(folder / "general.bin")
    probabilities = dict(zip(general.words, general.orders[0].log10_prob.tolist(), strict=True))
    common = {word for word, p in probabilities.items() if p >= -2.5 and word.isalpha()}
    rare = {word for word, p in probabilities.items() if p < -2.5} - {"music", "play"}
    assert common
    assert rare
    assert common | {"once", "music"} <= set(lm.words)
    assert not rare & set(lm.words)
    left_out = json.loads(capsys.readouterr().out)["left_out"]["background words"]
    assert left_out >= len(rare)
    assert "general, a model mixed in: BSD" in (folder / "NOTICE").read_text()

    without = build(Recipe.load(folder / "recipe.yaml"), folder, folder / "other.arpa", without=["weather"])
    assert "weather" in lm
    assert "weather" not in LanguageModel.load(folder / "other.arpa")
    assert without.left_out["background words"] == left_out + 1


def test_a_background_model_that_is_not_there_is_one_line(texts, capsys):
    folder, _ = texts
    arguments = [str(folder / "recipe.yaml"), "--texts", str(folder), "--out", str(folder / "lm.arpa")]
    for file, expected in (("nowhere/lm.bin", "cannot be read"), ("$NOWHERE/lm.bin", "needs an environment variable")):
        background = f"background: {{name: general, file: {file}, licence: BSD}}\n"
        (folder / "recipe.yaml").write_text(RECIPE + background)
        assert main(arguments) == 2
        error = capsys.readouterr().err
        assert f"{file}: {expected}" in error or f"{file} {expected}" in error
