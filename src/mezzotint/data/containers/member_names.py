"""Names of members: relative paths with forward slashes, in NFC, that stay inside of their container."""

import re
import unicodedata
from functools import lru_cache
from pathlib import Path

from mezzotint.data.image_files.class_folders import OF_SYSTEMS
from mezzotint.data.image_files.formats import OTHER, RAW, SUFFIXES
from mezzotint.data.image_files.listing import LEFTOVERS
from mezzotint.errors import DataError

NAMED = SUFFIXES | RAW | OTHER  # endings of images, supported or not
OUTSIDE = re.compile(r"(^|/)\.\.(/|$)|^/|^[A-Za-z]:/|\0")
FOLDERS = 1 << 12  # that are remembered: members of one folder mostly follow each other


def member_name(stored: str, container: Path) -> str:
    """Return the name of a member, in NFC and without ./ before it.

    Raises:
        DataError: it leads out of the container; nothing is ever unpacked to such a path.
    """
    folder, slash, last = stored.rpartition("/")
    if not slash and "\\" in stored:
        return member_name(stored.replace("\\", "/"), container)
    if leads_out(folder + slash) or last == ".." or "\0" in last:
        shown = stored.replace("\0", "\\0").replace("\n", "\\n")
        raise DataError(
            f"{container} has a member {shown}, which leads out of it. Nothing is unpacked, but such a file is not "
            "trusted: pack it again with relative names."
        )
    name = stored
    while name.startswith("./"):
        name = name[2:]
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def is_hidden(name: str) -> bool:
    """Return whether a member is hidden, or left there by an operating system."""
    folder, _, last = name.rpartition("/")
    return last.startswith(".") or last.lower() in LEFTOVERS or is_hidden_folder(folder)


@lru_cache(FOLDERS)
def leads_out(folder: str) -> bool:
    return OUTSIDE.search(folder) is not None


@lru_cache(FOLDERS)
def is_hidden_folder(folder: str) -> bool:
    return any(part.startswith(".") or part.lower() in OF_SYSTEMS for part in folder.split("/"))


def ending(name: str) -> str:
    """Return the ending of a name in lower case, with its dot; empty if there is none."""
    dot = name.rfind(".")
    return name[dot:].lower() if dot > name.rfind("/") + 1 else ""


def is_image_name(name: str) -> bool:
    return ending(name) in NAMED


def path_key(name: str) -> str:
    """Sort key of names: as paths are sorted, part by part."""
    return name.replace("/", "\0")
