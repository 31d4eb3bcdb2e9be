"""How much processor time decoding takes, on simulated posteriors of a poor acoustic model.

Example::

    python -m asr.decode.bench --lm work/lm/lm.bin --noise 2.5
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np

from asr.decode.config import DecoderConfig
from asr.decode.decoder import Decoder
from asr.decode.lm import LanguageModel
from asr.decode.types import LogProbs, Tokens

_TEXTS = (
    "play some jazz music in the living room",
    "what's the weather going to be like tomorrow in san francisco",
    "find me a cheap italian restaurant near the station",
    "set an alarm for half past six",
    "how long will it take to drive home",
)


def simulate(text: str, tokens: Tokens, rng: np.random.Generator, *, noise: float = 2.0, spacing: int = 4) -> LogProbs:
    """Log-posteriors (T, V) in which every symbol of `text` peaks once and every logit has Gaussian noise.

    Args:
        text: what is said.
        tokens: the symbols.
        rng: draws the noise.
        noise: standard deviation of the logits; a symbol stands 8 above the others at its peak, a blank 7.
        spacing: frames from peak to peak.
    """
    ids = tokens.encode(text)
    logits = rng.normal(0.0, noise, ((len(ids) + 2) * spacing, len(tokens)))
    logits[:, 0] += 7.0
    for place, token in enumerate(ids, start=1):
        logits[place * spacing, token] += 8.0
        logits[place * spacing, 0] -= 7.0
    return (logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)).astype(np.float32)


def main(arguments: list[str] | None = None) -> int:
    """Prints a JSON object: processor milliseconds for each chunk of 8 frames, over all of it and the worst 1 %.

    ``preview_ms`` is a glimpse at 8 more frames; ``endless_kb`` the memory of a search that has taken everything as one
    stream of ``endless_s``.
    """
    parser = argparse.ArgumentParser(prog="python -m asr.decode.bench", description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--lm", type=Path, help="KenLM binary or ARPA")
    parser.add_argument("--beam-width", type=int, default=16)
    parser.add_argument("--noise", type=float, default=2.0)
    parser.add_argument("--repeat", type=int, default=10)
    options = parser.parse_args(arguments)
    tokens, rng = Tokens.characters(), np.random.default_rng(0)
    lm = LanguageModel.load(options.lm) if options.lm else None
    decoder = Decoder(tokens, DecoderConfig(beam_width=options.beam_width), 0.02, lm)
    utterances = [simulate(text, tokens, rng, noise=options.noise) for text in _TEXTS * options.repeat]
    decoder.decode(utterances[0])  # compiles
    chunks, finals, interims, previews, wrong = [], [], [], [], 0
    endless = decoder.stream()
    for text, log_probs in zip(_TEXTS * options.repeat, utterances, strict=True):
        stream = decoder.stream()
        for start in range(0, len(log_probs), 8):
            began = time.thread_time()
            stream.accept(log_probs[start : start + 8])
            accepted = time.thread_time()
            stream.best()
            chunks.append(accepted - began)
            shown = time.thread_time()
            interims.append(shown - accepted)
            if start + 8 < len(log_probs):
                stream.preview(log_probs[start + 8 : start + 16])
                previews.append(time.thread_time() - shown)
        began = time.thread_time()
        wrong += stream.finish()[0].text != text
        finals.append(time.thread_time() - began)
        endless.accept(log_probs)
    result = {
        "chunk_ms": round(1000 * float(np.mean(chunks)), 3),
        "chunk_p99_ms": round(1000 * float(np.percentile(chunks, 99)), 3),
        "best_ms": round(1000 * float(np.mean(interims)), 3),
        "preview_ms": round(1000 * float(np.mean(previews)), 3),
        "finish_ms": round(1000 * float(np.mean(finals)), 3),
        "wrong_sentences": round(wrong / len(utterances), 3),
        "endless_s": round(endless.duration_s, 1),
        "endless_kb": round(endless.nbytes / 1000, 1),
    }
    sys.stdout.write(json.dumps(result) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
