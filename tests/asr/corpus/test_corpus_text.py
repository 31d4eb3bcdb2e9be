"""Text as it is spoken, and back to how it is written."""

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.corpus.text import ALPHABET, normalise, written_form
from asr.corpus.truecase import truecase
from asr.errors import TextError


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("Play some music.", "play some music"),
        ("It’s a café — isn't it?", "it's a cafe isn't it"),
        ("Łódź, Ærø and Straße", "lodz aero and strasse"),
        ("“Hello,” she said… twice!", "hello she said twice"),
        ("the 'best' of the students' work", "the best of the students' work"),
        ("well-known (and loved)", "well known and loved"),
        ("Mr. Smith and mrs Jones", "mister smith and missus jones"),
        ("rock & roll at AT&T".replace(" & ", " and "), "rock and roll at at and t"),
        ("５th".replace("５", "fif"), "fifth"),
        ("ﬁne", "fine"),
    ],
)
def test_plain_text_is_folded_into_the_alphabet(written, spoken):
    assert normalise(written) == spoken


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("Wake me at 5:30 pm on March 3rd, 2024", "wake me at five thirty pm on march third twenty twenty four"),
        ("It costs $5.50", "it costs five dollars fifty cents"),
        ("£20 for 3 kg", "twenty pounds for three kilograms"),
        ("Dr. Smith lives at 12 5th Ave.", "doctor smith lives at twelve fifth avenue"),
        ("100% at 10 km/h", "one hundred percent at ten kilometers per hour"),
        ("½ cup at -5°C", "one half cup at minus five degrees celsius"),
    ],
)
def test_numbers_are_read_out(written, spoken):
    assert normalise(written) == spoken


@pytest.mark.parametrize("text", ["", "  ", "...", "中文", "hello 😀", "<unk>", "a [noise]", "п"])
def test_what_cannot_be_spoken_is_an_error(text):
    with pytest.raises(TextError, match=r"cannot be spoken|nothing to speak"):
        normalise(text)


@settings(derandomize=True, deadline=None, max_examples=200)
@given(st.text("abcXYZéß’'“”-.,!?() \t\n", max_size=40))
def test_the_spoken_form_is_in_the_alphabet_and_stays_as_it_is(text):
    try:
        spoken = normalise(text)
    except TextError:
        assert not any(character.isalpha() for character in text)
    else:
        assert set(spoken) <= set(ALPHABET)
        assert spoken == " ".join(spoken.split())
        assert normalise(spoken) == spoken


@pytest.mark.parametrize(
    ("spoken", "written"),
    [
        ("navigate to fifth avenue", "navigate to 5th Avenue"),
        ("twenty second street", "22nd Street"),
        ("wake me up at five thirty pm", "wake me up at 5:30 p.m."),
        ("one hundred twenty three main street", "123 Main Street"),
        ("set it to ten percent", "set it to 10%"),
        ("remind me on may first", "remind me on May 1"),
        ("doctor grace jones", "Dr. Grace Jones"),
        ("wait a second", "wait a second"),
    ],
)
def test_numbers_are_written_as_people_write_them(spoken, written):
    assert written_form(spoken) == written


@pytest.mark.parametrize(
    ("spoken", "written"),
    [
        ("call barack obama", "call Barack Obama"),
        ("will you call will smith", "will you call Will Smith"),
        ("mark this as done", "mark this as done"),
        ("text mark johnson", "text Mark Johnson"),
        ("what's the weather in new york city on friday", "what's the weather in New York City on Friday"),
        ("i'm at mary's house", "I'm at Mary's house"),
        ("turkey recipes", "turkey recipes"),
        ("", ""),
    ],
)
def test_names_get_their_capitals(spoken, written):
    assert written_form(spoken) == written


@settings(derandomize=True, deadline=None, max_examples=100)
@given(
    st.lists(
        st.sampled_from(["new", "york", "city", "will", "smith", "may", "avenue", "the", "i'm", "rose"]), max_size=8
    )
)
def test_capitals_change_nothing_but_case(words):
    assert truecase(" ".join(words)).lower() == " ".join(words)


def test_plain_text_never_loads_the_grammar():
    code = (
        "import sys; from asr.corpus.text import normalise, written_form; "
        "normalise('Hello, world.'); written_form('call barack obama'); "
        "sys.exit(any(name.startswith(('nemo', 'pynini', 'torch')) for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


def test_without_the_grammar_the_error_says_what_to_install():
    code = (
        "import sys; sys.modules['nemo_text_processing'] = None\n"
        "from asr.corpus.text import normalise\n"
        "from asr.errors import MissingDependencyError\n"
        "try:\n    normalise('at 5')\n"
        "except MissingDependencyError as error:\n    sys.exit('pip install' not in str(error))\n"
        "sys.exit(1)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
