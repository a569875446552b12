"""Integrity of zip archives written by torch.save, whose checksums torch does not verify."""

import zipfile
from functools import lru_cache
from pathlib import Path

CHUNK = 1 << 20
SMALL = 1 << 25  # smaller files are read every time, since modification times are coarse
FOLDER = 0x10  # the attribute by which torch treats a member as a folder and reads nothing


def damage(file: Path) -> str | None:
    """Return what is wrong with an archive, without unpickling it; None if it is intact."""
    try:
        about = file.stat()
        look = _look_once if about.st_size > SMALL else _look
        return look(file, about.st_mtime_ns, about.st_size)
    except Exception as error:  # a corrupt archive directory can raise any exception
        return " ".join(str(error).split())[:200] or type(error).__name__


def _look(file: Path, *_: int) -> str | None:
    """Check a file; the other arguments are the cache key."""
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        if len({member.filename for member in members}) < len(members):
            return "two members of one name"
        for member in members:
            packed = member.compress_type != zipfile.ZIP_STORED or member.compress_size != member.file_size
            if packed or member.external_attr & FOLDER:
                return f"{member.filename} is not stored as torch stores it"
            with archive.open(member) as content:
                while content.read(CHUNK):  # the checksum is verified at the end
                    pass
    from torch._C import PyTorchFileReader  # detects errors in the directory that Python ignores

    with open(file, "rb") as source:  # torch only supports UTF-8 file names
        PyTorchFileReader(source)
    return None


_look_once = lru_cache(maxsize=64)(_look)
