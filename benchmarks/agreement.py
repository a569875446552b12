"""Values of this project, torch-fidelity and torchmetrics for the same images, as the table in docs/metrics.md.

    python benchmarks/agreement.py                                # digits: half against the other, slightly blurred
    python benchmarks/agreement.py --extractor effnet --n 300     # textures of 32 x 32
    python benchmarks/agreement.py --extractor inception --n 60   # random weights unless --weights gives some

Where a metric is an average over random subsets or parts of the images, all take one part with all images: each tool
chooses its own. Each tool runs the network in its own way, so values differ in the digits that this leaves uncertain.
torchmetrics is told that the real images are the drawn ones where it computes MiFID: it averages the cosine to the
nearest over the real images, and the definition over the drawn ones.
"""

import argparse
import warnings

import torch
from metrics import Plain, images, own_extractor, weights_of
from torch import Tensor, nn

NAMES = {
    "FrechetDistance": "Frechet distance (FID)",
    "KernelDistance": "kernel distance (KID)",
    "InceptionScore": "Inception score",
    "Precision": "precision",
    "Recall": "recall",
    "MiFID": "MiFID",
}


class Views(nn.Module):
    """A network as its makers run it: pooled features and logits of uint8 images."""

    def __init__(self, extractor: str, weights: str | None) -> None:
        super().__init__()
        self.plain, self.kind = Plain(extractor, weights), extractor

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        pooled = self.plain(x)
        network = self.plain.network
        if self.kind == "inception":
            return pooled, pooled @ network.fc.weight.T
        return pooled, (network.head if self.kind == "digits" else network._fc)(pooled)


class View(nn.Module):
    """One of the two, as torchmetrics takes it."""

    def __init__(self, views: Views, index: int, width: int) -> None:
        super().__init__()
        self.views, self.index, self.num_features = views, index, width

    def forward(self, x: Tensor) -> Tensor:
        return self.views(x)[self.index]


def pairs(extractor: str, n: int) -> tuple[Tensor, Tensor]:
    """Real and drawn uint8 images."""
    if extractor != "digits":
        return images(n, 0, extractor), images(n, 1, extractor)
    from mezzotint.data import Digits

    pixels = Digits().split("all").pixels[:-1]
    sharp = pixels[1::2].float()
    blurred = nn.functional.avg_pool2d(sharp, 3, 1, 1, count_include_pad=False)
    return pixels[::2], (0.8 * sharp + 0.2 * blurred).round().to(torch.uint8)


def mezzotint(extractor: str, weights: str | None, real: Tensor, drawn: Tensor) -> dict[str, float]:
    from mezzotint import metrics as room

    one = own_extractor(extractor, weights)
    size = min(len(real), len(drawn))
    chosen = {
        "FrechetDistance": room.FrechetDistance(one),
        "KernelDistance": room.KernelDistance(one, subsets=1, size=size),
        "InceptionScore": room.InceptionScore(one, splits=1),
        "PrecisionRecall": room.PrecisionRecall(one),
        "MiFID": room.MiFID(one),
    }
    found = {}
    for name, metric in chosen.items():
        metric.update(real, real=True)
        metric.update(drawn, real=False)
        found[name] = metric.compute().tolist()
    found["Precision"], found["Recall"] = found.pop("PrecisionRecall")
    return found


def torch_fidelity(views: Views, real: Tensor, drawn: Tensor) -> dict[str, float]:
    import fidelity

    size = min(len(real), len(drawn))
    wanted = {"fid": True, "kid": True, "isc": True, "prc": True}
    fidelity.register("views", views)
    found = fidelity.judge("views", real, drawn, **wanted, kid_subsets=1, kid_subset_size=size, isc_splits=1)
    return {
        "FrechetDistance": found["frechet_inception_distance"],
        "KernelDistance": found["kernel_inception_distance_mean"],
        "InceptionScore": found["inception_score_mean"],
        "Precision": found["precision"],
        "Recall": found["recall"],
    }


def torchmetrics(views: Views, widths: tuple[int, int], real: Tensor, drawn: Tensor) -> dict[str, float]:
    from torchmetrics.image.fid import FrechetInceptionDistance
    from torchmetrics.image.inception import InceptionScore
    from torchmetrics.image.kid import KernelInceptionDistance
    from torchmetrics.image.mifid import MemorizationInformedFrechetInceptionDistance

    pooled, logits = (View(views, i, width) for i, width in enumerate(widths))
    size = min(len(real), len(drawn))
    chosen = {
        "FrechetDistance": FrechetInceptionDistance(pooled),
        "KernelDistance": KernelInceptionDistance(pooled, subsets=1, subset_size=size),
        "MiFID": MemorizationInformedFrechetInceptionDistance(pooled),
    }
    found = {}
    for name, metric in chosen.items():
        swapped = name == "MiFID"
        metric.update(real, real=not swapped)
        metric.update(drawn, real=swapped)
        value = metric.compute()
        found[name] = float(value[0] if isinstance(value, tuple) else value)
    score = InceptionScore(logits, splits=1)
    score.update(drawn)
    return found | {"InceptionScore": float(score.compute()[0])}


@torch.no_grad()
def compare(extractor: str, weights: str | None, n: int) -> None:
    """Prints the table."""
    real, drawn = pairs(extractor, n)
    views = Views(extractor, weights).eval()
    widths = tuple(view.shape[1] for view in views(real[:2]))
    ours = mezzotint(extractor, weights, real, drawn)
    others = [torch_fidelity(views, real, drawn), torchmetrics(views, widths, real, drawn)]
    print(f"{extractor}, {len(real)} real and {len(drawn)} drawn images\n")
    print("| | mezzotint | torch-fidelity | torchmetrics |\n|---|---|---|---|")
    for name, title in NAMES.items():
        cells = [f"{one[name]:.8g}" if name in one else "-" for one in (ours, *others)]
        print(f"| {title} | {' | '.join(cells)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--extractor", default="digits", choices=("digits", "effnet", "inception"))
    parser.add_argument("--weights", help="Inception's weights; random without")
    parser.add_argument("--n", type=int, default=300, help="images of each kind, but for the digits")
    given = parser.parse_args()
    warnings.filterwarnings("ignore", message="Metric `.*` will save all extracted features")
    warnings.filterwarnings("ignore", message="std.*degrees of freedom")  # of a single part
    with weights_of(given.extractor, given.weights) as weights:
        compare(given.extractor, weights, given.n)


if __name__ == "__main__":
    main()
