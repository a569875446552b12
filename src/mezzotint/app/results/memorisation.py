"""The memorisation check of a run's samples: values beside the other ones, and a picture of the nearest pairs."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from mezzotint.app.results.references import ProgressImages
from mezzotint.app.terminal import display_path
from mezzotint.atomic import atomic_path
from mezzotint.data.image_set import ImageSource
from mezzotint.distributed import rank_and_world
from mezzotint.progress import bar

if TYPE_CHECKING:
    from mezzotint.generation import SampleGenerator
    from mezzotint.metrics import Memorisation, MemorisationResult

PAIRS = 10  # in the picture


@dataclass(frozen=True)
class MemorisationReport:
    """The checks among the metrics, and what they compare with.

    Args:
        splits: the images that were trained on, and those that were held out; none without a check.
    """

    checks: "dict[str, Memorisation]"
    splits: tuple[ImageSource, ...]

    @classmethod
    def among(cls, metrics: Mapping[str, Any], dataset: Any) -> "MemorisationReport":
        """Of metrics that judge a model of this dataset. Raises DataError: it holds no images out."""
        from mezzotint.metrics import Memorisation

        checks = {name: metric for name, metric in metrics.items() if isinstance(metric, Memorisation)}
        splits = tuple(dataset.split(name) for name in ("train", "test")) if checks else ()
        for check in checks.values():
            check.check(*splits)
        return cls(checks, splits)

    def add(self, found: dict[str, Any], path: Path, generator: "SampleGenerator", n: int) -> None:
        """Puts values into what was found, and the first process a picture beside its file.

        Each process draws the same samples, the first ones of n, as they were judged.
        """
        for name, check in self.checks.items():
            training, held_out = self.splits
            count = check.count(n)
            with bar("samples to compare", count) as advance:
                drawn, _ = generator.images(0, count, advance)
            with bar("training images", len(training)) as advance:
                near = check.measure(drawn.to(generator.device), ProgressImages(training, advance), held_out)
            picture = path.with_name(f"{path.stem}-{name}.png")
            if rank_and_world()[0] == 0:
                draw(near, drawn, training, picture)
            values = check.values(near)
            found["values"] |= values
            found["notes"] += [*near.lines(), f"the nearest pairs: {display_path(picture)}"]
            found["protocol"]["metrics"][name] = check.settings() | {
                "count": count,
                "training": {"count": len(training), "sha256": training.digest()},
                "held_out": {"count": len(held_out), "sha256": held_out.digest()},
                "picture": picture.name,
                "values": list(values),
                "higher_is_better": check.higher_is_better,
            }


def draw(near: "MemorisationResult", drawn: Tensor, training: ImageSource, path: Path) -> None:
    """The samples that lie nearest to a training image, above these."""
    from mezzotint.figures import plot_neighbours
    from mezzotint.generation import Neighbours

    worst = near.worst(PAIRS)
    index, distances = near.neighbours[worst][:, None], near.distances[worst][:, None]
    pictures = training.batch(near.neighbours[worst])[0][:, None]
    figure = plot_neighbours(drawn[worst], pictures, Neighbours(index, distances, near.usual))
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as part:
        figure.savefig(part, dpi=160, bbox_inches="tight", pad_inches=0.1)
