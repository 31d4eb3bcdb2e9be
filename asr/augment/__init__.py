"""Augmentation: the same words in another room, car, microphone and speed; exact SNRs, every draw from a seed."""

from asr.augment.chain import Augmenter
from asr.augment.config import AugmentConfig
from asr.augment.level import active_speech_level_db, noise_level_db

__all__ = ["AugmentConfig", "Augmenter", "active_speech_level_db", "noise_level_db"]
