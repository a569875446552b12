"""Images of a container in memory."""

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from mezzotint.data.containers.member_image import MemberImage
from mezzotint.data.image_files.image_set import map_threaded, refuse
from mezzotint.data.image_set import TensorImages
from mezzotint.data.index.file import ImageIndex
from mezzotint.data.index.images import IndexedImages

KEPT = 3  # splits in memory


@dataclass(frozen=True, eq=False)
class DecodedMembers(TensorImages):
    """Images of a container decoded into memory, with the digest of the stored ones."""

    source: IndexedImages[MemberImage] = field(kw_only=True)

    @property
    def rows(self) -> np.ndarray:
        return self.source.rows

    @property
    def on_access(self) -> IndexedImages[MemberImage]:
        return self.source

    def digest(self) -> str:
        return self.source.digest()


_decoded: OrderedDict[Any, torch.Tensor] = OrderedDict()


def decoded(images: IndexedImages[MemberImage], index: ImageIndex) -> DecodedMembers:
    """Decode images of an index into memory, once per process while the index is the same.

    Raises:
        DataError: an image cannot be read any more.
    """
    key = (index.file, index.stamp, images.rows.tobytes(), images.shape, images.enlarge, images.crop)
    if key not in _decoded:
        while len(_decoded) >= KEPT:
            _decoded.popitem(last=False)
        _decoded[key] = decode_all(images)
    _decoded.move_to_end(key)
    return DecodedMembers(_decoded[key], images.labels, source=images)


def decode_all(images: IndexedImages[MemberImage]) -> torch.Tensor:
    pixels = np.zeros((len(images), *images.shape), np.uint8)

    def work(number: int) -> None:
        pixels[number] = images.decoded(number, images.crop)

    refuse(list(map_threaded(work, len(images), "decoding pictures").values()), len(images))
    return torch.from_numpy(pixels)
