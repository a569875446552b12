"""Tar archives, read by position: plain ones with class folders, and shards of WebDataset with cls, txt and json."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from mezzotint.data.containers.base import Member
from mezzotint.data.containers.member_image import Beginning
from mezzotint.data.containers.member_names import is_hidden, is_image_name
from mezzotint.data.containers.shard_files import Archives
from mezzotint.data.containers.tar_headers import Item, TarHeaders
from mezzotint.data.image_files.class_folders import LABELS
from mezzotint.data.image_files.formats import HEAD, unread
from mezzotint.data.image_files.image_set import note_once
from mezzotint.errors import DataError
from mezzotint.plain_data import as_dict, as_text

SIDECARS = ("cls", "txt", "json")  # of a sample of WebDataset
CAPTIONS, CLASSES = ("caption", "text"), ("label", "cls")  # in its json


@dataclass(frozen=True)
class TarShards(Archives):
    """The images in tar archives, which are not compressed, with labels and captions in files of the same key."""

    def read(self, shard: int, offset: int, size: int) -> bytes:
        return self.files.read(shard, offset, size)

    def members_of(self, shard: int, prefix: str) -> Iterator[Member]:
        headers = TarHeaders(self.files[shard])
        for key, sample in groupby(headers.items(), key=lambda item: item.key):
            images: list[Item] = []
            beside: dict[str, Item] = {}
            for item in sample:
                if item.last == LABELS:
                    note_once(
                        f"data: {self.paths[shard]}/{item.name} is not read: labels in a tar archive are in a file "
                        "KEY.cls for each image; data=zip reads this one."
                    )
                elif item.kind in SIDECARS:
                    beside[item.kind] = item
                elif not is_hidden(item.name) and self._is_image(shard, item):
                    images.append(item)
            if images:
                texts = {kind: headers.text(item) for kind, item in beside.items()}
                label, caption = sidecar_values(f"{self.paths[shard]}/{key}", texts) if texts else (None, "")
                for item in images:
                    yield Member(prefix + item.name, shard, item.offset, item.size, label, caption)

    def _is_image(self, shard: int, item: Item) -> bool:
        def read() -> bytes:
            return self.files.read(shard, item.offset, min(item.size, HEAD))

        return is_image_name(item.name) or unread(Beginning(item.last, read)) is not None


def sidecar_values(where: str, texts: dict[str, str]) -> tuple[int | None, str]:
    """Return the label and the caption of a sample.

    Args:
        where: the place of the sample, for messages.
        texts: the content of its cls, txt and json files.

    Raises:
        DataError: a label is no integer, or a file is not readable.
    """
    values = parsed(texts["json"], where) if "json" in texts else {}
    caption = texts.get("txt") or next((said for key in CAPTIONS if (said := as_text(values.get(key)))), "")
    label = texts["cls"].strip() if "cls" in texts else next((values[key] for key in CLASSES if key in values), None)
    try:
        return None if label is None else int(str(label)), caption.strip()
    except ValueError as error:
        raise DataError(
            f"{where} has the label {str(label)[:40]!r}, not the number of a class: number the classes from 0."
        ) from error


def parsed(text: str, where: str) -> dict[str, object]:
    try:
        return as_dict(json.loads(text))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}.json cannot be read ({error}): write it again, or remove it.") from error
