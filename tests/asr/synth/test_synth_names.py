"""Names are read, and held out by a rule that a training cannot break by knowing less."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.errors import InputError
from asr.synth.names import held_out_names, mentions, read_names

words = st.text("abcdefgh'", min_size=1, max_size=5)
names = st.lists(st.lists(words, min_size=1, max_size=3).map(" ".join), max_size=40, unique=True)
texts = st.lists(st.lists(words, min_size=1, max_size=5).map(" ".join), max_size=20)


def test_a_table_and_a_list_give_the_same_names(tmp_path):
    (tmp_path / "people.csv").write_text('name,born\nBeyoncé,1981\n"O\'Neal, Shaquille",1972\nJ. K. Rowling,1965\n')
    (tmp_path / "people.txt").write_text("# people\nBeyoncé\n\nO'Neal, Shaquille\nJ. K. Rowling\n")
    table, lines = (read_names(tmp_path / f"people.{suffix}") for suffix in ("csv", "txt"))
    assert table == lines
    assert [(name.text, name.written) for name in table.names] == [
        ("beyonce", "Beyoncé"),
        ("o'neal shaquille", "O'Neal, Shaquille"),
        ("j k rowling", "J. K. Rowling"),
    ]


def test_what_cannot_be_spoken_is_counted(tmp_path):
    (tmp_path / "people.txt").write_text("Ana Li\nAlbert II\nana li\n李娜\nXi Jinping\nA|B\n")
    found = read_names(tmp_path / "people.txt")
    assert [name.text for name in found.names] == ["ana li", "xi jinping"]
    assert found.left_out == {"Roman numeral": 1, "twice": 1, "cannot be spoken": 2}


@pytest.mark.parametrize(
    ("file", "content", "complaint"),
    [("a.csv", "who,born\nAna,1990\n", "no column 'name'; the table has who, born"), ("a.txt", "# x\n", "no name")],
)
def test_a_list_without_names_is_refused(tmp_path, file, content, complaint):
    (tmp_path / file).write_text(content)
    with pytest.raises(InputError, match=complaint):
        read_names(tmp_path / file)


def test_a_missing_list_is_named():
    with pytest.raises(InputError, match=r"nowhere.txt: cannot be read"):
        read_names(Path("nowhere.txt"))


@settings(derandomize=True, deadline=None, max_examples=60)
@given(listed=names, known=texts, more=texts, share=st.floats(0, 1))
def test_held_out_surnames_stand_in_no_text_and_more_texts_hold_out_no_others(listed, known, more, share):
    held_out = held_out_names(listed, known, share)
    spoken = {word for text in known for word in text.split()}
    assert all(name.split()[-1] not in spoken for name in held_out)
    assert set(held_out_names(listed, [*known, *more], share)) <= set(held_out)
    assert set(held_out_names(listed, known, share / 2)) <= set(held_out)
    assert [name for name in listed if name in set(held_out)] == held_out


def test_about_the_share_is_held_out_and_each_name_decides_for_itself():
    listed = [f"given{number} family{number}" for number in range(2000)]
    held_out = held_out_names(listed, [])
    assert 900 < len(held_out) < 1100
    assert held_out_names(listed[::3], []) == [name for name in listed[::3] if name in set(held_out)]
    assert held_out_names(listed, [], 0) == []
    assert held_out_names(listed, [], 1) == listed


def test_the_surname_of_a_possessive_is_known():
    assert held_out_names(["ana li"], ["play ana li's song"], 1) == []


@settings(derandomize=True, deadline=None, max_examples=60)
@given(text=st.lists(words, min_size=1, max_size=8).map(" ".join), listed=names)
def test_mentions_are_whole_words_in_sequence(text, listed):
    assert mentions(text, set(listed)) == any(f" {name} " in f" {text} " for name in listed)
