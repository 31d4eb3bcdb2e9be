from __future__ import annotations

from dataclasses import replace

from asr.recognize import Recognizer
from asr.synth import of_engine, open_engine
from asr.unknown import Catalogue, UnknownConfig
from services.recognizer.spans import SpanFinder


def test_words_are_looked_for_as_the_bundle_says_unless_told_otherwise() -> None:
    recognizer = Recognizer.open()
    voice = next(voice for voice in of_engine("espeak") if voice.name == "en-us+m3")
    stream = recognizer.stream(keep_posteriors=True)
    stream.accept(open_engine("espeak").speak("call zlatan ibrahimovic", voice))
    best = stream.finish()[0]
    everything, nothing = UnknownConfig(threshold=0.0, seed=0.0), UnknownConfig(threshold=1.0)
    catalogue = Catalogue.of_names(["mila kunis"])

    finder = SpanFinder(lambda: catalogue, lambda: ())
    assert finder(recognizer, stream, best)
    recognizer.bundle = replace(recognizer.bundle, unknown=nothing)
    assert finder(recognizer, stream, best) == []
    assert SpanFinder(lambda: catalogue, lambda: (), everything)(recognizer, stream, best)
