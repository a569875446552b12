"""The folder of indexes, and the file of one."""

import hashlib
import os
from pathlib import Path

_chosen: list[str] = []


def use_cache(folder: str) -> None:
    """Store indexes in this folder from now on: `paths.cache` of a command."""
    _chosen[:] = [folder]


def cache_folder() -> Path:
    """Return the folder of caches: the chosen one, MEZZOTINT_CACHE, or ~/.cache/mezzotint."""
    return Path(*_chosen or [os.environ.get("MEZZOTINT_CACHE") or "~/.cache/mezzotint"]).expanduser()


def index_file(*sources: Path) -> Path:
    """Return the file of the index of what lies at a path, or in several files together."""
    name = b"\0".join(os.fsencode(os.path.realpath(source)) for source in sources)
    return cache_folder() / f"index-{hashlib.sha256(name).hexdigest()[:32]}.safetensors"
