"""The list of names that a bundle learned, and the files that hold them."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path

from asr.decode.hint_text import MAX_BOOST
from asr.errors import BundleError

NAMES = "names.json"
"""The learned names of a bundle."""
CLASS_MODEL = "names.arpa.gz"
"""The class n-gram of a bundle (`asr.decode.names`)."""
FORMAT = 1


@dataclass(frozen=True, slots=True)
class LearnedName:
    """One name.

    Attributes:
        text: as spoken.
        weight: how often it is asked for, relative to the others.
        round: in which round of learning it came.
        spellings: what the recogniser hears for it.
    """

    text: str
    weight: float = 1.0
    round: int = 1
    spellings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LearnedNames:
    """All learned names of a bundle, each once; see `NAMES`.

    Attributes:
        names: in the order in which they were learned.
        prior_names: how many names the base model knows, as it were.
        boost: what a whole name is worth beside its probability, in nats; 0 leaves it to that alone.
        contexts: words behind which people say a name ("call", "news about").
        context_boost: what a name is worth there, if that is more; without `boost` names are no hints, nor there.
    """

    names: tuple[LearnedName, ...]
    prior_names: float = 50.0
    boost: float = 0.0
    contexts: tuple[str, ...] = ()
    context_boost: float = 0.0

    @classmethod
    def load(cls, path: Path) -> LearnedNames:
        """Reads a bundle's file.

        Raises:
            BundleError: not such a file, or of a later version.
        """
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["format"] != FORMAT:
                raise BundleError(f"{path}: has format {content['format']}, this version of Dengar reads {FORMAT}")
            names = tuple(
                LearnedName(
                    str(row["text"]), float(row["weight"]), int(row["round"]), tuple(map(str, row.get("spellings", ())))
                )
                for row in content["names"]
            )
            contexts = content.get("contexts", [])
            if not isinstance(contexts, list):
                raise TypeError("contexts is no list")
            found = cls(
                names,
                float(content["prior_names"]),
                float(content.get("boost", 0.0)),
                tuple(map(str, contexts)),
                float(content.get("context_boost", 0.0)),
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BundleError(f"{path}: cannot be read as learned names ({error})") from error
        sound = all(name.text.split() and 0 < name.weight < math.inf for name in names)
        sound = sound and 0 < found.prior_names < math.inf
        if not all(0 <= boost <= MAX_BOOST for boost in (found.boost, found.context_boost)):
            raise BundleError(f"{path}: boost and context_boost must be between 0 and {MAX_BOOST:g}")
        if not all(text.split() for text in found.contexts):
            raise BundleError(f"{path}: holds a context without words")
        if not sound or len({n.text for n in names}) < len(names):
            raise BundleError(f"{path}: holds a name twice, without words, or with a weight that is not positive")
        return found

    def dump(self) -> str:
        """As JSON that `load` reads."""
        rows = [asdict(name) for name in self.names]
        head = {
            "format": FORMAT,
            "prior_names": self.prior_names,
            "boost": self.boost,
            "contexts": self.contexts,
            "context_boost": self.context_boost,
        }
        return json.dumps({**head, "names": rows}, indent=1) + "\n"

    @property
    def share(self) -> float:
        """Of all names that are asked for."""
        total = math.fsum(name.weight for name in self.names)
        return total / (total + self.prior_names)
