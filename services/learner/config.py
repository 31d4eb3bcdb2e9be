"""Configuration of noticing: when something heard becomes a name, when names are learned, when traffic is unusual.

`data/learner.yaml` holds the defaults with what each is for; docs/the-loop.md says how they act together.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from asr.config import load_config
from asr.errors import ConfigError
from services.learner.job_config import LearningConfig, RolloutConfig

DEFAULT = Path(__file__).parents[2] / "data" / "learner.yaml"

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]

_STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class EvidenceConfig:
    """Which spans and corrections are looked at at all.

    Attributes:
        min_score: probability of being unknown below which a span is passed over.
        min_snr_db: spans of noisier queries are passed over; queries without an estimate are not.
        min_phones: shorter ones are passed over: they sound like everything.
        max_words: longer ones are no name.
        per_user_a_day: spans and corrections of one user that are looked at in 24 hours; the rest is passed over.
        max_sound: by how much, as a sound distance, what was chosen or corrected may differ from what was heard.
        blocklists: files of words, one a line, that no name may hold, nor sound like.
    """

    min_score: Share = 0.3
    min_snr_db: float = 0.0
    min_phones: Count = 4
    max_words: Count = 4
    per_user_a_day: Count = 50
    max_sound: Share = 0.6
    blocklists: tuple[str, ...] = ("data/blocklist.txt",)


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class ClusterConfig:
    """What counts as the same name.

    Attributes:
        join: largest sound distance to one of a name's spellings at which a span is a mention of it.
        merge: sound distance between the best spellings of two watched names at which they become one.
        catalogue: probability of the best proposal from which a span is a mention of that catalogue entry, however
            it is spelled.
        spellings: how many spellings of a name are kept to compare with.
        examples: newest mentions of a name from which its best spelling is made.
        batch: spans and corrections, or new catalogue entries, handled in one transaction.
        spans: newest spans that new catalogue entries are compared with.
    """

    join: Share = 0.2
    merge: Share = 0.12
    catalogue: Share = 0.5
    spellings: Count = 8
    examples: Count = 200
    batch: Count = 500
    spans: Count = 4000


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class FloodConfig:
    """How far one user, one device or one moment can push a name.

    Attributes:
        per_user_a_day: mentions of a name by one user that count in 24 hours.
        burst_s: mentions of a name that follow each other faster, by whomever, count as one: an advertisement or a
            song is heard by many devices at once.
        max_burst_share: share of a name's mentions lost to `burst_s` above which it is not approved by itself.
    """

    per_user_a_day: Count = 2
    burst_s: Annotated[float, Field(ge=0)] = 10.0
    max_burst_share: Share = 0.5


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class PromotionConfig:
    """When a watched name is proposed, and when it is approved without a person.

    Attributes:
        window_days: mentions older than this no longer count.
        min_mentions: counted mentions (see `FloodConfig`) for a proposal.
        min_users: distinct users for a proposal.
        min_score: mean score of its spans for a proposal.
        min_hours: hours from the first to the last counted mention for a proposal.
        min_contexts: different words beside it, for a proposal of what neither catalogue nor users spell: fewer are one
            query that is always misheard.
        known_sound: sound distance from a known word up to which such a name is that word, misheard.
        auto_approve: approve without a person where the evidence below is there.
        catalogue_share: share of the users whose spans must propose the same catalogue entry.
        catalogue_users: how many users they must be at least.
        feedback_users: users whose corrections agree letter for letter.
        unlisted_users: users that approve a name which neither catalogue nor correction spells; 0: a person must.
        forget_days: a watched name that was not heard for so long is dropped.
    """

    window_days: Positive = 14.0
    min_mentions: Count = 6
    min_users: Count = 4
    min_score: Share = 0.4
    min_hours: Annotated[float, Field(ge=0)] = 1.0
    min_contexts: Count = 3
    known_sound: Share = 0.1
    auto_approve: bool = True
    catalogue_share: Share = 0.6
    catalogue_users: Count = 4
    feedback_users: Count = 3
    unlisted_users: Natural = 0
    forget_days: Positive = 30.0


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class TriggerConfig:
    """When approved names are learned for good.

    Attributes:
        count: approved names that wait and are enough for a job; 0: never by count.
        trend: of a waiting name, in mentions that count (see `FloodConfig`), from which it is learned without waiting
            for others; 0: never by trend.
        trend_users: distinct users that such a name needs, of mentions that count in the last day.
        drift: figures (see `services.learner.monitor`) whose alarm has waiting names learned at once; without such a
            name it is left to a person.
        schedule_h: hours after the last job from which any waiting name starts one; 0: never by schedule.
        min_interval_h: least hours between two jobs that nobody asked for.
        max_names: names in one job; those with most users first.
        retry_h: hours after which names of a failed job may be tried again.
        max_attempts: jobs that may fail to learn a name before it waits for a person.
    """

    count: Natural = 5
    trend: Annotated[float, Field(ge=0)] = 5.0
    trend_users: Count = 6
    drift: tuple[str, ...] = ("snr_db",)
    schedule_h: Annotated[float, Field(ge=0)] = 24.0
    min_interval_h: Annotated[float, Field(ge=0)] = 1.0
    max_names: Count = 50
    retry_h: Annotated[float, Field(ge=0)] = 24.0
    max_attempts: Count = 3


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class MonitorConfig:
    """The figures of the traffic and what is compared with what.

    Attributes:
        window_s: length of one window of figures; it must divide a day.
        low_confidence: confidence below which an answer counts as rejected.
        per_user_a_day: queries of one user that the figures of a day take in.
        current_h: the last hours, that are compared; a whole number of days keeps the rhythm of the day out.
        reference_h: the hours before these.
        min_reference_h: fewer hours of reference are not compared with.
        min_queries: fewer in either are not compared.
    """

    window_s: Count = 3600
    low_confidence: Share = 0.5
    per_user_a_day: Count = 10
    current_h: Count = 24
    reference_h: Count = 168
    min_reference_h: Count = 72
    min_queries: Count = 200

    @model_validator(mode="after")
    def _whole(self) -> MonitorConfig:
        if 86_400 % self.window_s or self.current_h * 3600 % self.window_s or self.reference_h * 3600 % self.window_s:
            raise ValueError("window_s must divide a day, current_h and reference_h")
        return self


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class DriftConfig:
    """When a difference between two stretches of traffic is an alarm.

    Attributes:
        false_alarms_a_month: expected number of alarms in a month in which nothing changed; divided among all
            checks (the union bound holds whatever they have in common) and among all figures (Holm).
        persistence: checks in a row that must find it.
        min_psi: population stability index of a distribution below which a difference does not matter.
        min_ks: largest difference of two distributions, likewise.
        min_rate: difference of two rates, likewise.
        min_ratio: ratio of two rates, likewise.
        clear_checks: checks in a row without it that end an alarm.
        adopt_days: days after which what an alarm is about is the new reference.
    """

    false_alarms_a_month: Annotated[float, Field(gt=0, le=100)] = 0.1
    persistence: Count = 2
    min_psi: Annotated[float, Field(ge=0)] = 0.05
    min_ks: Share = 0.1
    min_rate: Share = 0.02
    min_ratio: Annotated[float, Field(ge=1)] = 1.25
    clear_checks: Count = 6
    adopt_days: Positive = 14.0


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class WebhookConfig:
    """Where alarms are sent as JSON.

    Attributes:
        url: http or https; empty sends nothing. It is not logged: it may hold a secret.
        timeout_s: of one attempt.
        attempts: in one turn; the next turn of the worker tries again.
        backoff_s: wait after the first failed attempt, doubled after each.
        give_up_h: alarms that are older are no longer sent.
    """

    url: str = ""
    timeout_s: Annotated[float, Field(gt=0, le=60)] = 5.0
    attempts: Annotated[int, Field(ge=1, le=10)] = 3
    backoff_s: Annotated[float, Field(ge=0, le=60)] = 0.5
    give_up_h: Positive = 24.0

    @model_validator(mode="after")
    def _address(self) -> WebhookConfig:
        if self.url and not self.url.startswith(("http://", "https://")):
            raise ValueError("url must begin with http:// or https://")
        return self


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class LearnerConfig:
    """All of `data/learner.yaml`."""

    evidence: EvidenceConfig = EvidenceConfig()
    cluster: ClusterConfig = ClusterConfig()
    flood: FloodConfig = FloodConfig()
    promotion: PromotionConfig = PromotionConfig()
    triggers: TriggerConfig = TriggerConfig()
    monitor: MonitorConfig = MonitorConfig()
    drift: DriftConfig = DriftConfig()
    webhook: WebhookConfig = WebhookConfig()
    learning: LearningConfig = LearningConfig()
    rollout: RolloutConfig = RolloutConfig()


Figure = Literal["rate", "distribution"]


def load_learner_config(path: str | Path | None = None, overrides: tuple[str, ...] = ()) -> LearnerConfig:
    """Reads the file, or the shipped `data/learner.yaml`; ``$NAME`` in it is an environment variable.

    Raises:
        ConfigError: unreadable, an unknown key, a value out of range, or a trigger on a figure that there is not.
    """
    config = load_config(LearnerConfig, path or DEFAULT, overrides)
    from services.learner.monitor import FIGURES

    unknown = [name for name in config.triggers.drift if name not in FIGURES]
    if unknown:
        raise ConfigError(
            f"{path or DEFAULT}: triggers.drift: there is no figure {unknown[0]!r}; known: {', '.join(FIGURES)}"
        )
    return config
