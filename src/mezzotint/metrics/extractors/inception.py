"""Inception-v3 for FID: the network and weights of torch-fidelity."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn

from mezzotint.errors import ConfigError, DataError
from mezzotint.metrics.extractors.base import Extractor, check_colours, sha256, to_rgb
from mezzotint.metrics.extractors.pretrained import check_url, fuse_batchnorm, read_state

URL = "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth"
PUBLISHED = "6726825d"  # the first digits of the file's sha256


@dataclass(frozen=True)
class InceptionV3(Extractor):
    """2,048 pooled features of the Inception-v3 of December 2015, ported from TensorFlow: the features of FID.

    Views: "pooled" (2,048), "logits" (1,008, without bias, as the Inception score takes them) and "spatial", the first
    seven channels of the 1 x 1 branch of the third 17 x 17 block (17 x 17 x 7 = 2,023), which sFID takes.

    Sources: Szegedy et al. 2015, https://arxiv.org/abs/1512.00567; weights and port: torch-fidelity; spatial view: Nash
    et al. 2021, https://arxiv.org/abs/2103.03841, with the layer that Dhariwal and Nichol 2021 evaluate.

    Args:
        weights: a file with the weights (PyTorch state dict); by default torch-fidelity's download, kept under
            `torch.hub.get_dir()`. Files are read as arrays only, nothing in them is executed.
    """

    weights: str | None = None

    name: ClassVar[str] = "inception"
    widths: ClassVar[dict[str, int]] = {"pooled": 2048, "logits": 1008, "spatial": 2023}
    named_fid: ClassVar[bool] = True
    batch: ClassVar[int] = 8
    preprocessing: ClassVar[str] = (
        "bilinear to 299x299 as in TensorFlow 1 (no antialias), (x - 128) / 128, grey repeated to RGB"
    )

    @property
    def path(self) -> Path:
        """The path of the weights, whether or not they have been fetched."""
        if self.weights is not None:
            return Path(self.weights).expanduser()
        return Path(torch.hub.get_dir()) / "checkpoints" / URL.rsplit("/", 1)[1]

    @cached_property
    def digest(self) -> str:
        return sha256(self._file())

    @cached_property
    def network(self) -> nn.Module:
        begins = "" if self.weights else PUBLISHED
        return _build(read_state(self._file(), f"the state dict from {URL}", begins), self._file())

    @property
    def published(self) -> bool:
        """True for the weights that published FIDs were computed with."""
        return self.digest.startswith(PUBLISHED)

    @property
    def fetched(self) -> bool:
        return self.path.is_file()

    def validate(self, shape: tuple[int, ...]) -> None:
        check_colours(shape, self.name)
        if self.path.is_file():
            return
        if self.weights is not None:
            raise DataError(
                f"there are no Inception weights at {self.path}. Give an existing file, extractor.weights=PATH, or "
                f"leave extractor.weights out to have it fetched. By hand: curl -L -o {self.path} {URL}"
            )
        try:
            check_url(URL)
        except OSError as error:
            raise self._offline(error) from error

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        early: list[Tensor] = []
        layer = self.network.Mixed_6d.branch1x1
        handle = layer.register_forward_hook(lambda module, given, out: early.append(flatten_hwc(out[:, :7])))
        try:
            pooled, logits = self.network(to_rgb(images, "InceptionV3"))
        finally:
            handle.remove()
        return {"pooled": pooled, "logits": logits, "spatial": early[0]}

    def _file(self) -> Path:
        if not self.path.is_file():
            self.validate((3, 299, 299))
            self._download()
        return self.path

    def _download(self) -> None:
        """Fetch the weights, verified by the hash in the file's name."""
        print(f"Fetching the Inception weights (91 MB) from {URL}")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(URL, str(self.path), hash_prefix=PUBLISHED, progress=False)
        except (OSError, RuntimeError) as error:
            raise self._offline(error) from error

    def _offline(self, error: Exception) -> DataError:
        return DataError(
            f"extractor=inception needs weights that are not at {self.path} and could not be fetched ({error}). "
            f"On a machine with internet access: curl -L -o weights.pth {URL}; here: extractor.weights=weights.pth. "
            "Without them: extractor=effnet."
        )


def _build(state: dict[str, Tensor], path: Path) -> nn.Module:
    """torch-fidelity's network. Its constructor unpickles a file, so it gets bytes written here."""
    from torch_fidelity.feature_extractor_inceptionv3 import BasicConv2d, FeatureExtractorInceptionV3

    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    views = ["2048", "logits_unbiased"]
    try:
        network = FeatureExtractorInceptionV3("inception-v3-compat", views, feature_extractor_weights_path=buffer)
    except RuntimeError as error:
        raise ConfigError(f"{path} does not fit Inception-v3: {str(error)[:300]} It should be {URL}") from error
    for block in network.modules():
        if isinstance(block, BasicConv2d):
            fuse_batchnorm(block, "conv", "bn")
    return network


def flatten_hwc(maps: Tensor) -> Tensor:
    """Flatten maps (B, C, H, W) to rows (B, H W C): TensorFlow's order, as in published spatial statistics."""
    return maps.permute(0, 2, 3, 1).flatten(1)
