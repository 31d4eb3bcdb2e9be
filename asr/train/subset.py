"""Which utterances a run learns from: so many hours of them, and how much of each manifest."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from asr.errors import ConfigError
from asr.train.batches import Item


def take_hours(items: Sequence[Item], hours: float, seed: int) -> list[Item]:
    """A subset of about ``hours`` that holds every corpus and speaker in the proportion of the whole.

    Systematic sampling: each utterance of a speaker has a place in [0, 1), in random order and evenly spread over the
    speaker's time, and those with the lowest places are taken. So a smaller subset of the same seed lies
    within a larger one. The order of the items is kept; 0 hours takes all.
    """
    budget_s = hours * 3600
    if not hours or sum(item.utterance.duration for item in items) <= budget_s:
        return list(items)
    rng = np.random.default_rng(seed)
    groups: dict[tuple[str, str], list[int]] = defaultdict(list)
    for index, item in enumerate(items):
        groups[item.utterance.corpus, item.utterance.speaker].append(index)
    places = np.empty(len(items))
    for key in sorted(groups):
        members = rng.permutation(groups[key])
        ends = np.cumsum([items[i].utterance.duration for i in members])
        starts = np.concatenate([[0.0], ends[:-1]])
        places[members] = rng.uniform(starts, ends) / ends[-1]
    order = np.argsort(places)
    taken_s = np.cumsum([items[i].utterance.duration for i in order])
    kept = order[: max(1, int(np.searchsorted(taken_s, budget_s, side="right")))]
    return [items[i] for i in sorted(kept)]


def hours_by_corpus(items: Sequence[Item]) -> dict[str, float]:
    """Hours of recordings of each corpus, most first."""
    hours: dict[str, float] = defaultdict(float)
    for item in items:
        hours[item.utterance.corpus] += item.utterance.duration / 3600
    return dict(sorted(hours.items(), key=lambda entry: (-entry[1], entry[0])))


def mix(manifests: Sequence[Sequence[Item]], shares: Sequence[float], hours: float, seed: int) -> list[Item]:
    """Items of several manifests, each with its share of the time; without shares all are one.

    Args:
        manifests: the items of each.
        shares: of the time of each manifest, summing to 1, or empty.
        hours: of all together; 0 for as many as the shares allow without repeating an utterance.
        seed: of the choice.

    Raises:
        ConfigError: not one share per manifest, a sum other than 1, or more hours than a manifest has.
    """
    if not shares:
        return take_hours([item for items in manifests for item in items], hours, seed)
    if len(shares) != len(manifests) or min(shares) < 0 or abs(sum(shares) - 1) > 1e-6:
        raise ConfigError(
            f"data.shares: needs one share for each of the {len(manifests)} manifests, together 1; found {list(shares)}"
        )
    held_h = [sum(item.utterance.duration for item in items) / 3600 for items in manifests]
    most_h = min(held / share for held, share in zip(held_h, shares, strict=True) if share)
    if hours > most_h * 1.001:
        raise ConfigError(
            f"data.train_hours: {hours:g} h with these shares needs more than is there; at most {most_h:.2f}"
        )
    wanted_h = hours or most_h
    return [
        item
        for items, share in zip(manifests, shares, strict=True)
        if share
        for item in take_hours(items, wanted_h * share, seed)
    ]
