"""A typed client of `dengar.v1.Speech`; needs grpcio, protobuf and numpy, no decoder and no model.

::

    from services.client import Client, Options

    with Client() as client:
        print(client.recognize(open("query.wav", "rb").read()).text)
        for result in client.stream(microphone(), Options(sample_rate_hz=16_000)):
            print(result.text, end="\\n" if result.is_final else "\\r")
"""

from services.client.errors import SpeechServiceError
from services.client.files import AudioFile, open_audio, paced
from services.client.microphone import async_microphone, microphone
from services.client.names import Forgotten, Imported, Name, NamesClient
from services.client.options import DEFAULT_ADDRESS, Options
from services.client.reconnect import Reconnect
from services.client.results import Alternative, Info, StreamResult, Transcript, Word
from services.client.speech import AsyncClient, Client

__all__ = [
    "DEFAULT_ADDRESS",
    "Alternative",
    "AsyncClient",
    "AudioFile",
    "Client",
    "Forgotten",
    "Imported",
    "Info",
    "Name",
    "NamesClient",
    "Options",
    "Reconnect",
    "SpeechServiceError",
    "StreamResult",
    "Transcript",
    "Word",
    "async_microphone",
    "microphone",
    "open_audio",
    "paced",
]
