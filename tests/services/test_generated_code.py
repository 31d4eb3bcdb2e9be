"""The committed gRPC code is what the contract says, and the contract keeps the numbers others know."""

from __future__ import annotations

import subprocess
import sys

from services import generate
from services.dengar.v1 import speech_pb2 as pb


def test_the_committed_code_is_current() -> None:
    check = [sys.executable, "-W", "ignore", "-m", "services.generate", "--check"]
    outcome = subprocess.run(check, cwd=generate.ROOT, capture_output=True, text=True, check=False)
    assert (outcome.returncode, outcome.stderr) == (0, "")


def test_field_numbers_of_google_and_riva() -> None:
    expected = {
        pb.RecognitionConfig: {
            "encoding": 1, "sample_rate_hertz": 2, "language_code": 3, "max_alternatives": 4, "speech_contexts": 6,
            "audio_channel_count": 7, "enable_word_time_offsets": 8, "enable_word_confidence": 15, "adaptation": 20,
        },
        pb.StreamingRecognitionConfig: {
            "config": 1, "single_utterance": 2, "interim_results": 3, "enable_voice_activity_events": 5,
            "voice_activity_timeout": 6,
        },
        pb.VoiceActivityTimeout: {"speech_start_timeout": 1, "speech_end_timeout": 2},
        pb.SpeechContext: {"phrases": 1, "boost": 4},
        pb.Phrase: {"value": 1, "boost": 2},
        pb.PhraseSet: {"name": 1, "phrases": 2, "boost": 4},
        pb.CustomClass: {"name": 1, "items": 3},
        pb.SpeechAdaptation: {"phrase_sets": 1, "phrase_set_references": 2, "custom_classes": 3},
        pb.StreamingRecognizeRequest: {"streaming_config": 1, "audio_content": 2},
        pb.StreamingRecognizeResponse: {"results": 2, "speech_event_type": 4, "speech_event_time": 8},
        pb.StreamingRecognitionResult: {"alternatives": 1, "is_final": 2, "stability": 3, "result_end_time": 4},
        pb.SpeechRecognitionAlternative: {"transcript": 1, "confidence": 2, "words": 3},
        pb.WordInfo: {"start_time": 1, "end_time": 2, "word": 3, "confidence": 4},
        pb.RecognizeRequest: {"config": 1, "audio": 2},
    }  # fmt: skip
    for message, numbers in expected.items():
        found = {field.name: field.number for field in message.DESCRIPTOR.fields}
        assert {name: number for name, number in found.items() if number < 100} == numbers
    encodings = dict(pb.RecognitionConfig.AudioEncoding.items())
    assert encodings == {
        "ENCODING_UNSPECIFIED": 0, "LINEAR16": 1, "FLAC": 2, "MULAW": 3, "OGG_OPUS": 6, "MP3": 8, "WEBM_OPUS": 9,
    }  # fmt: skip
