"""torchaudio's datasets, which know where corpora are fetched and what their archives' hashes are."""

from __future__ import annotations

import importlib
from typing import Any

from asr.errors import MissingDependencyError


def datasets() -> Any:
    """The module `torchaudio.datasets`, imported when it is first needed.

    Raises:
        MissingDependencyError: torchaudio is absent, or its CUDA extension stands beside a CPU torch.
    """
    try:
        return importlib.import_module("torchaudio.datasets")
    except (ImportError, OSError) as error:
        raise MissingDependencyError(
            f"downloading needs torchaudio, which cannot be imported ({error}); pip install 'dengar[train]', and "
            "beside a CPU build of torch run `make`, which sets its compiled extension aside"
        ) from error
