import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr.engine import Geometry, MelWindows, OnnxEngine
from asr.errors import BundleError

geometries = st.builds(
    Geometry,
    stride=st.integers(1, 4),
    before=st.integers(0, 4),
    after=st.integers(0, 3),
    chunk_frames=st.integers(1, 6),
    delay_frames=st.integers(0, 5),
)


@given(geometries, st.lists(st.integers(0, 40), max_size=8))
def test_windows_cover_every_frame_once_and_mark_the_real_ones(geometry: Geometry, sizes: list[int]) -> None:
    total = sum(sizes)
    mel = np.arange(1, total + 1, dtype=np.float32)[:, None]
    windows = MelWindows(geometry, silence=-1.0, n_mels=1)
    found, start = [], 0
    for size in sizes:
        found += windows.accept(mel[start : start + size])
        start += size
    found += windows.finish()

    n_frames = -(-total // geometry.stride)
    padded = np.pad(mel[:, 0], (geometry.before, len(found) * geometry.window), constant_values=-1.0)
    for i, window in enumerate(found):
        first = i * geometry.hop
        np.testing.assert_array_equal(window[:, 0], padded[first : first + geometry.window])

    real = 0
    for i in range(len(found)):
        part = windows.real_frames(i * geometry.chunk_frames, geometry.chunk_frames, finished=True)
        real += part.stop - part.start
    assert real == n_frames


def test_look_ahead_counts_every_part() -> None:
    geometry = Geometry(stride=3, before=3, after=2, chunk_frames=8, delay_frames=4)
    assert geometry.frame_s == pytest.approx(0.03)
    assert geometry.look_ahead_s == pytest.approx(12 * 0.03 + 0.02 + 0.0125)


def test_a_file_that_is_no_model_is_named(tmp_path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"not a model")
    with pytest.raises(BundleError, match=r"model\.onnx"):
        OnnxEngine(path)
