"""Trains the classifier of 8 x 8 digits whose features the `digits` extractor is, and writes its weights.

    python scripts/train_digits_classifier.py

Takes about half a minute on one core with a fixed seed. It trains on the train part of the digits only and prints the
accuracy on the held-out test part, which the docstring of `DigitsClassifier` quotes.
"""

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from mezzotint.data import Digits
from mezzotint.metrics.extractors.digits_classifier import WEIGHTS, DigitsNetwork, scaled

EPOCHS, BATCH, SEED = 60, 64, 0


def shifted(images: Tensor, generator: torch.Generator) -> Tensor:
    """Each batch moved by at most one pixel, and a little noise: the features should not hang on single pixels."""
    rows, columns = torch.randint(-1, 2, (2,), generator=generator).tolist()
    padded = nn.functional.pad(images, (1, 1, 1, 1), value=-1.0)
    moved = padded[..., 1 + rows : 9 + rows, 1 + columns : 9 + columns]
    return moved + 0.1 * torch.randn(moved.shape, generator=generator)


def train(images: Tensor, labels: Tensor) -> DigitsNetwork:
    """AdamW with a one-cycle learning rate and label smoothing."""
    torch.manual_seed(SEED)
    generator = torch.Generator().manual_seed(SEED)
    network = DigitsNetwork()
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=0.02)
    batches = [
        chosen for _ in range(EPOCHS) for chosen in torch.randperm(len(images), generator=generator).split(BATCH)
    ]
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=len(batches))
    for chosen in batches:
        logits = network(shifted(images[chosen], generator))
        loss = nn.functional.cross_entropy(logits, labels[chosen], label_smoothing=0.05)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return network.eval()


def part(name: str) -> tuple[Tensor, Tensor]:
    """Images as the network sees them, and labels, of one part of the digits."""
    images = Digits().split(name)
    pixels, labels = images.batch(torch.arange(len(images)))
    return scaled(pixels), labels


def main() -> None:
    torch.set_num_threads(1)
    network = train(*part("train"))
    images, labels = part("test")
    with torch.no_grad():
        right = int((network(images).argmax(1) == labels).sum())
    WEIGHTS.parent.mkdir(exist_ok=True)
    save_file(network.state_dict(), WEIGHTS)
    print(f"{right} of {len(labels)} test images right ({right / len(labels):.1%}); {WEIGHTS.stat().st_size} bytes")


if __name__ == "__main__":
    main()
