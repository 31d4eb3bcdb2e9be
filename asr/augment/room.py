"""Reverberation: a bank of impulse responses of car cabins and living rooms by the image method (pyroomacoustics).

audiomentations' RoomSimulator wraps the same library but computes a new room for every call, which is far too
slow during training; a bank computed once is as varied as the training needs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.signal import oaconvolve

from asr import audio
from asr.audio import SAMPLE_RATE_HZ, Samples
from asr.augment.config import RoomConfig
from asr.augment.seeding import generator
from asr.errors import ConfigError


class RoomBank:
    """Impulse responses, each made (or read) when first asked for and then kept.

    Args:
        config: the kinds of rooms and their number.
        seed: of the rooms' dimensions.
        folder: the user's recorded impulse responses, for the kind ``files``.
    """

    def __init__(self, config: RoomConfig, seed: int, folder: str | Path | None = None) -> None:
        self.config, self.seed = config, seed
        self._files = sorted(path for path in Path(folder).glob("*.wav")) if folder is not None else []
        if folder is not None and not self._files:
            raise ConfigError(f"{folder}: holds no impulse responses (.wav)")
        kinds = {kind: weight for kind, weight in config.kinds.items() if weight > 0}
        if not self._files:
            kinds.pop("files", None)
        if config.probability > 0 and not kinds:
            raise ConfigError("room.kinds asks for files only, but no folder with impulse responses (.wav) was given")
        self._kinds = sorted(kinds)
        self._weights = np.array([kinds[kind] for kind in self._kinds])
        self._responses: dict[int, tuple[Samples, dict[str, Any]]] = {}

    def response(self, index: int) -> tuple[Samples, dict[str, Any]]:
        """Response `index`, from its direct sound on, of shape (T,); and what room it is."""
        if index not in self._responses:
            rng = generator(self.seed, "room", index)
            kind = self._kinds[int(rng.choice(len(self._kinds), p=self._weights / self._weights.sum()))]
            if kind == "files":
                path = self._files[int(rng.integers(len(self._files)))]
                response, draws = audio.load(path), {"room": f"file:{path.stem}"}
            else:
                response, draws = _car(rng) if kind == "car" else _home(rng)
            self._responses[index] = from_direct_sound(response), {**draws, "room_index": index}
        return self._responses[index]


def from_direct_sound(response: Samples) -> Samples:
    """Drops the delay before the direct sound, so that words keep their times, and scales that sound to about 1."""
    magnitude = np.abs(response)
    first = int(np.argmax(magnitude >= 0.5 * magnitude.max()))
    return np.asarray(response[max(0, first - 8) :] / magnitude.max(), dtype=np.float32)


def reverberate(samples: Samples, response: Samples) -> Samples:
    """Convolution cut to the length of `samples`."""
    return np.asarray(oaconvolve(samples, response)[: len(samples)], dtype=np.float32)


def _car(rng: np.random.Generator) -> tuple[Samples, dict[str, Any]]:
    """Driver or passenger speaks towards a microphone at the mirror, the dashboard or the roof."""
    size = rng.uniform((2.0, 1.35, 1.05), (3.2, 1.65, 1.35))
    head = np.array([0.45 * size[0], rng.choice([0.27, 0.73]) * size[1], 0.75 * size[2]]) + rng.uniform(-0.06, 0.06, 3)
    places = {
        "mirror": (0.22 * size[0], 0.5 * size[1], 0.9 * size[2]),
        "dashboard": (0.15 * size[0], 0.5 * size[1], 0.55 * size[2]),
        "roof": (0.35 * size[0], 0.5 * size[1], 0.97 * size[2]),
    }
    place = str(rng.choice(list(places)))
    microphone = np.array(places[place]) + rng.uniform(-0.02, 0.02, 3)
    return _shoebox(
        "car", size, head, microphone, float(rng.uniform(0.35, 0.65)), order=10, draws={"microphone": place}
    )


def _home(rng: np.random.Generator) -> tuple[Samples, dict[str, Any]]:
    """A phone 0.3 to 1.5 m from the mouth in a furnished room."""
    size = rng.uniform((2.5, 2.5, 2.3), (6.0, 5.0, 3.0))
    head = rng.uniform(0.35, 0.65, 3) * size
    direction = rng.standard_normal(3) * (1.0, 1.0, 0.4)
    offset = direction / np.linalg.norm(direction) * rng.uniform(0.3, 1.5)
    microphone = np.clip(head + offset, 0.15, size - 0.15)
    return _shoebox("home", size, head, microphone, float(rng.uniform(0.25, 0.5)), order=14, draws={})


def _shoebox(
    kind: str,
    size: npt.NDArray[np.float64],
    source: npt.NDArray[np.float64],
    microphone: npt.NDArray[np.float64],
    absorption: float,
    *,
    order: int,
    draws: dict[str, Any],
) -> tuple[Samples, dict[str, Any]]:
    import pyroomacoustics

    room = pyroomacoustics.ShoeBox(
        size, fs=SAMPLE_RATE_HZ, materials=pyroomacoustics.Material(absorption), max_order=order
    )
    room.add_source(source)
    room.add_microphone(np.clip(microphone, 0.02, size - 0.02))
    room.compute_rir()
    response = np.asarray(room.rir[0][0], dtype=np.float32)
    distance_m = float(np.linalg.norm(source - microphone))
    what = {"room": kind, "absorption": round(absorption, 2), "distance_m": round(distance_m, 2)}
    return response, {**what, **draws, "size_m": [round(float(edge), 2) for edge in size]}
