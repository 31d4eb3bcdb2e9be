"""Words that stand before names in queries, for names that no class n-gram of a bundle tells the place of.

`asr.learn.extension.name_contexts` reads them off the grammars of `data/queries`; a test holds them against it.
"""

from __future__ import annotations

BEFORE_NAMES: tuple[str, ...] = (
    "article about", "be by", "call", "call back", "call to", "dial", "did", "ever meet", "films with", "get me",
    "google", "happened to", "information about", "latest on", "let", "listen to", "look up", "me about",
    "meeting with", "message", "message from", "message to", "name of", "nationality of", "news about", "old is",
    "phone", "pictures of", "play", "please call", "put on", "ring", "say about", "search for", "send", "shuffle",
    "something by", "tall is", "tell", "text", "to call", "to hear", "web for", "when is", "who is", "write to",
    "you play",
)  # fmt: skip
