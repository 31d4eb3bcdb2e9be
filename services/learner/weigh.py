"""What the mentions of a name weigh: how many count, by how many users, how it is spelled, and what that is enough for.

Pure functions. Floods weigh little: one user counts a few times a day, and what many say within seconds counts once.
"""

from __future__ import annotations

import datetime
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar

from services.learner.config import ClusterConfig, FloodConfig, PromotionConfig
from services.learner.spelling import consensus

_DAY = datetime.timedelta(days=1)
FEEDBACK_WEIGHT = 2.0
"""Of a spelling that a user wrote, against one that was heard with certainty."""


class Heard(Protocol):
    """When something was said, and by whom."""

    @property
    def at(self) -> datetime.datetime: ...
    @property
    def user(self) -> str: ...


S = TypeVar("S", bound=Heard)


@dataclass(frozen=True, slots=True)
class Said:
    """One mention, as it is weighed.

    Attributes:
        at, user: when and by whom.
        key: what makes it the same as another at the same time.
        spellings: with their shares, best first.
        feedback: whether the user wrote it.
        score: of the span; 1 if the user wrote it.
        proposal: the catalogue entry that it most likely is, or empty.
        context: the words beside it.
    """

    at: datetime.datetime
    user: str
    key: str
    spellings: tuple[tuple[str, float], ...]
    feedback: bool
    score: float
    proposal: str
    context: str = ""


@dataclass(frozen=True, slots=True)
class Weight:
    """What is known of a name.

    Attributes:
        mentions: that count.
        users: among them.
        raw: all mentions in the window.
        burst_share: of `raw`, what was said by others within seconds and so did not count.
        score: mean of the counted mentions.
        hours: from the first to the last of them.
        contexts: different words beside them.
        entity, entity_users: the catalogue entry that most users' spans propose, and how many they are.
        written, written_users: the spelling that most users wrote, and how many they are.
        text: the best spelling.
        source: ``catalogue``, ``feedback`` or ``heard``: whence that is.
        spellings: others, heaviest first.
    """

    mentions: int
    users: int
    raw: int
    burst_share: float
    score: float
    hours: float
    contexts: int
    entity: str
    entity_users: int
    written: str
    written_users: int
    text: str
    source: Literal["catalogue", "feedback", "heard"]
    spellings: tuple[str, ...]


def weigh(said: Sequence[Said], flood: FloodConfig, promotion: PromotionConfig, cluster: ClusterConfig) -> Weight:
    """Weighs the mentions of one name; their order plays no part.

    Raises:
        ValueError: there are none.
    """
    said = sorted(said, key=lambda each: (each.at, each.user, each.key))
    counted, in_burst = count(said, flood)
    users = {each.user for each in counted}
    entities, written = _by_user(said, users)
    entity, entity_users = _most(entities)
    wrote, written_users = _most(written)
    text, source = _spelling(said[-cluster.examples :])
    if written_users >= promotion.feedback_users or (written_users > 1 and not entity_users):
        text, source = wrote, "feedback"
    elif entity_users and entity_users >= promotion.catalogue_share * len(users):
        text, source = entity, "catalogue"
    elif written_users > 1:
        text, source = wrote, "feedback"
    return Weight(
        mentions=len(counted),
        users=len(users),
        raw=len(said),
        burst_share=in_burst / len(said),
        score=sum(each.score for each in counted) / len(counted),
        hours=(counted[-1].at - counted[0].at).total_seconds() / 3600,
        contexts=len({each.context for each in counted}),
        entity=entity,
        entity_users=entity_users,
        written=wrote,
        written_users=written_users,
        text=text,
        source=source,
        spellings=_others(said[-cluster.examples :], text, cluster.spellings - 1),
    )


def count(said: Sequence[S], flood: FloodConfig) -> tuple[list[S], int]:
    """Those that count, and how many did not for having come in a burst.

    Args:
        said: in order of time.
        flood: how often a user counts, and what is a burst.
    """
    counted: list[S] = []
    of_user: dict[str, list[datetime.datetime]] = defaultdict(list)
    in_burst = 0
    for each in said:
        recent = [at for at in of_user[each.user] if each.at - at < _DAY]
        if len(recent) >= flood.per_user_a_day:
            continue
        if counted and each.user != counted[-1].user and (each.at - counted[-1].at).total_seconds() < flood.burst_s:
            in_burst += 1
            continue
        of_user[each.user] = [*recent, each.at]
        counted.append(each)
    return counted, in_burst


def _by_user(said: Sequence[Said], users: set[str]) -> tuple[dict[str, str], dict[str, str]]:
    """The catalogue entry that each user's newest span proposes, and the spelling that each wrote last."""
    entities, written = {}, {}
    for each in said:
        if each.user in users:
            if each.proposal:
                entities[each.user] = each.proposal
            if each.feedback:
                written[each.user] = each.spellings[0][0]
    return entities, written


def _most(votes: dict[str, str]) -> tuple[str, int]:
    counts = Counter(votes.values())
    return min(counts.items(), key=lambda item: (-item[1], item[0])) if counts else ("", 0)


def _weights(said: Sequence[Said]) -> Counter[str]:
    """The weight of each spelling; no user's are more than one user's."""
    of_user = Counter(each.user for each in said)
    weights: Counter[str] = Counter()
    for each in said:
        for text, share in each.spellings:
            weight = share * each.score * (FEEDBACK_WEIGHT if each.feedback else 1.0) / of_user[each.user]
            weights[text] += weight  # type: ignore[assignment]  # Counter's values may be floats
    return weights


def _spelling(said: Sequence[Said]) -> tuple[str, Literal["catalogue", "feedback", "heard"]]:
    return consensus([(text, max(weight, 1e-9)) for text, weight in _weights(said).items()]), "heard"


def _others(said: Sequence[Said], text: str, most: int) -> tuple[str, ...]:
    ordered = sorted(_weights(said).items(), key=lambda item: (-round(item[1], 9), item[0]))
    return tuple(other for other, _ in ordered if other != text)[:most]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a weight is enough for.

    Attributes:
        status: ``watched``, ``proposed`` or ``approved``.
        reason: in words.
    """

    status: Literal["watched", "proposed", "approved"]
    reason: str


def judge(  # noqa: PLR0911 (a list of cases)
    weight: Weight, flood: FloodConfig, promotion: PromotionConfig, known: Callable[[str], str] = lambda _: ""
) -> Verdict:
    """Whether a name may be proposed, and whether that needs a person.

    Args:
        weight: of it.
        flood: limits of bursts.
        promotion: thresholds.
        known: the word that the recogniser knows and that a spelling sounds like, or nothing.
    """
    heard = f"heard {weight.mentions} times by {weight.users} users"
    wants = (
        (weight.mentions < promotion.min_mentions, f"{promotion.min_mentions} mentions"),
        (weight.users < promotion.min_users, f"{promotion.min_users} users"),
        (weight.score < promotion.min_score, f"a mean score of {promotion.min_score:g}, found {weight.score:.2f}"),
        (weight.hours < promotion.min_hours, f"{promotion.min_hours:g} hours between first and last"),
    )
    agreed = weight.written_users >= promotion.feedback_users
    missing = next((what for lacks, what in wants if lacks), "")
    if missing and not agreed:
        return Verdict("watched", f"{heard}; a proposal wants {missing}")
    if weight.source == "heard":
        if weight.contexts < promotion.min_contexts:
            return Verdict("watched", f"{heard}, always beside the same words: one query that is misheard")
        if word := known(weight.text):
            return Verdict("watched", f"{heard}; sounds like {word}, which is known: that word, misheard")
    if not promotion.auto_approve:
        return Verdict("proposed", f"{heard}; names are approved by a person")
    if weight.burst_share > flood.max_burst_share:
        share = f"{weight.burst_share:.0%} of them within seconds of others"
        return Verdict("proposed", f"{heard}, {share}: an advertisement or a song is for a person to judge")
    if agreed:
        return Verdict("approved", f"{heard}; {weight.written_users} users wrote it alike")
    listed = weight.entity_users >= max(promotion.catalogue_users, promotion.catalogue_share * weight.users)
    if listed:
        return Verdict("approved", f"{heard}; in the catalogue, as the spans of {weight.entity_users} users have it")
    if promotion.unlisted_users and weight.users >= promotion.unlisted_users:
        return Verdict("approved", f"{heard}, enough without a catalogue")
    return Verdict("proposed", f"{heard}; neither catalogue nor corrections say how it is spelled")
