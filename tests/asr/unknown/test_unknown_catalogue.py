"""Names are found again by sound, in full and in part, and by the acoustics."""

from __future__ import annotations

import math
import time
from dataclasses import replace

import numpy as np
import pytest

from asr.decode import Tokens
from asr.errors import InputError
from asr.unknown import Catalogue, Entity, Proposal, Spelling, UnknownSpan, pronounce, rescore
from asr.unknown.rescore import ratio

NAMES = (
    "mila kunis", "paul simon", "vasily chuikov", "bruce dickinson", "avril lavigne", "nadia calvino", "boris johnson",
    "lars von trier", "adele", "martin luther king", "keira knightley", "hugh jackman",
)  # fmt: skip


def span(*spellings: str, before: tuple[str, ...] = (), after: tuple[str, ...] = ()) -> UnknownSpan:
    found = tuple(Spelling(text, -float(place)) for place, text in enumerate(spellings))
    return UnknownSpan(0.0, 1.0, ("x",), before, after, found, pronounce(spellings[0])[0], 0.9)


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        (span("meela coonis"), "mila kunis"),
        (span("coonis"), "mila kunis"),
        (span("nite lee", before=("search", "for", "keira")), "keira knightley"),
        (span("bros dicanson", "brusticanson"), "bruce dickinson"),
        (span("calveno"), "nadia calvino"),
        (span("larsvontreer"), "lars von trier"),
        (span("adell", before=("play",)), "adele"),
    ],
)
def test_the_name_that_was_said_comes_first(asked: UnknownSpan, name: str) -> None:
    proposals = Catalogue.of_names(NAMES).propose(asked)
    assert proposals[0].name == name
    assert [p.probability for p in proposals] == sorted((p.probability for p in proposals), reverse=True)
    assert 0 < sum(p.probability for p in proposals) <= 1


def test_what_sounds_like_no_name_is_probably_none() -> None:
    catalogue = Catalogue.of_names(NAMES)
    assert sum(p.probability for p in catalogue.propose(span("zogblatt umpertok"))) < 0.2
    assert sum(p.probability for p in catalogue.propose(span("mila kunis"))) > 0.8


def test_weights_decide_between_names_of_one_sound() -> None:
    entities = [Entity("jon smith"), Entity("john smith", weight=5.0)]
    first, second = Catalogue(entities).propose(span("jon smith"))[:2]
    assert first.name == "john smith"
    assert first.probability == pytest.approx(5 * second.probability)
    log_probs = spelled("call john smith")
    one, other = rescore(log_probs, replace(span("john smith"), end_s=0.9), [first, replace(first, prior=0.0)], TOKENS)
    assert one.probability / other.probability == pytest.approx(np.exp(first.prior))


def test_given_pronunciations_count() -> None:
    said = span("shivawn")
    plain, taught = Catalogue.of_names(["siobhan"]), Catalogue([Entity("siobhan", pronunciations=("ʃɪvɔn",))])
    assert taught.propose(said)[0].distance < 0.1 < plain.propose(said)[0].distance


def test_names_are_normalised_and_what_cannot_be_said_is_counted() -> None:
    catalogue = Catalogue([Entity("Beyoncé"), Entity("Иван"), Entity("beyonce", weight=2.0)])
    assert [(entity.name, entity.weight) for entity in catalogue.entities] == [("beyonce", 3.0)]
    assert sum(catalogue.left_out.values()) == 1
    assert Catalogue.of_names([]).propose(span("anybody")) == []
    with pytest.raises(InputError, match="weight"):
        Entity("somebody", weight=0.0)


def test_many_names_are_searched_in_little_time() -> None:
    rng = np.random.default_rng(0)
    parts = [f"{a}{b}{c}" for a in ("mar", "lo", "ka", "vi", "dre") for b in ("ti", "ne", "sko", "ra") for c in "nslo"]
    names = {" ".join(rng.choice(parts, 2)) for _ in range(3000)} | {"nadia calvino"}
    catalogue = Catalogue.of_names(sorted(names))
    catalogue.propose(span("warm"))
    began = time.process_time()
    found = catalogue.propose(span("nadja kalvino", "nadia kalveno", before=("call",)), 3)
    assert found[0].name == "nadia calvino"
    assert time.process_time() - began < 1.0  # some ten milliseconds; the bound only catches another order of growth


TOKENS = Tokens.characters()


def spelled(text: str, certainty: float = 0.9) -> np.ndarray:
    """Posteriors that spell a text, two frames a letter with a blank between."""
    rows = []
    for symbol in TOKENS.encode(text):
        for peak in (symbol, symbol, 0):
            row = np.full(len(TOKENS), (1 - certainty) / (len(TOKENS) - 1))
            row[peak] = certainty
            rows.append(np.log(row))
    return np.array(rows, np.float32)


def test_acoustics_put_names_in_order() -> None:
    log_probs = spelled("call meela koonis now")
    inside = UnknownSpan(0.3, 1.02, ("meal",), ("call",), ("now",), (Spelling("meela koonis", 0.0),), "", 0.9)
    names = ["vasily chuikov", "mila kunis", "meela koonis", "boris johnson"]
    ratios = dict(zip(names, ratio(log_probs, inside, names, TOKENS), strict=True))
    assert ratios["meela koonis"] > ratios["mila kunis"] > max(ratios["vasily chuikov"], ratios["boris johnson"])
    assert -1 < ratios["meela koonis"] < 3  # sums over alignments, so a little above the best path
    ranked = rescore(log_probs, inside, [Proposal(name, 0.2, 0.1) for name in names], TOKENS)
    assert [proposal.name for proposal in ranked[:2]] == ["meela koonis", "mila kunis"]
    assert math.fsum(proposal.probability for proposal in ranked) <= 1 + 1e-9
    assert rescore(log_probs, inside, [], TOKENS) == []


def test_a_part_of_the_name_outside_of_the_span_is_heard_too() -> None:
    log_probs = spelled("call martin stekelburg")
    inside = UnknownSpan(0.72, 1.34, ("burg",), ("call", "martin"), (), (Spelling("stekelburg", 0.0),), "", 0.9)
    first, second = ratio(log_probs, inside, ["martin stekelburg", "oleg stekelburg"], TOKENS)
    assert first > second


def test_a_name_that_cannot_be_spelled_is_worst() -> None:
    found = ratio(spelled("abc"), span("abc"), ["été", "abc"], TOKENS)
    assert found[0] == -100
    assert found[1] > -5
