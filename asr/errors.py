"""The one exception tree.

::

    DengarError
    ├── InputError              what the user gave cannot be used
    │   ├── AudioError          not audio, wrong rate, empty, too long, NaN ...
    │   ├── ManifestError       a bad line, a missing file, an unknown key
    │   ├── TextError           text that cannot be spoken in the alphabet
    │   ├── ConfigError         a configuration value that makes no sense
    │   └── NotFoundError       something is named that does not exist
    ├── BundleError             a bundle that is corrupt or from another version
    ├── MissingDependencyError  an optional package or program is not installed
    └── TrainingError           training cannot go on (diverged, no data left ...)

Every message is one sentence or two: what happened, where, and what would work. The command line prints
it behind ``error:`` and exits with ``exit_code``; the server maps the class to a gRPC status.
"""


class DengarError(Exception):
    """Base of every error that Dengar raises on purpose."""

    exit_code = 1


class InputError(DengarError):
    """The user's input cannot be used."""

    exit_code = 2


class AudioError(InputError):
    """Audio that cannot be decoded or lies outside the accepted bounds."""


class ManifestError(InputError):
    """A manifest, or a line of one, that cannot be read."""


class TextError(InputError):
    """Text that cannot be turned into the recogniser's alphabet."""


class ConfigError(InputError):
    """A configuration value that is unknown, of the wrong type or out of range."""


class NotFoundError(InputError):
    """Something that was asked for by name or id does not exist, or not any more."""


class BundleError(DengarError):
    """A bundle that is missing, corrupt or of an unknown format version."""

    exit_code = 3


class MissingDependencyError(DengarError):
    """An optional package, program or model file is not installed."""

    exit_code = 4


class TrainingError(DengarError):
    """Training cannot go on."""

    exit_code = 5
