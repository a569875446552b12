"""The end of a run before its budget is spent, as status.json records it."""

from collections.abc import Iterable
from dataclasses import dataclass

from mezzotint.plain_data import mismatch
from mezzotint.runs.formats import EARLY_STOP, Node


@dataclass(frozen=True)
class EarlyStop:
    """The end of a run by callbacks that set `trainer.should_stop`, such as Lightning's EarlyStopping and Timer.

    Args:
        by: class names of these callbacks; several where any of them may have done it.
        images: seen when it stopped.
        budget: images that it would have seen.
        reason: as the callback gives it; may be empty.
    """

    by: tuple[str, ...]
    images: int
    budget: int
    reason: str = ""

    @classmethod
    def of(cls, status: Node) -> "EarlyStop | None":
        """Return the early stop in the content of status.json; None where there is none."""
        found = status.get("early_stop")
        if not found or mismatch(found, EARLY_STOP):
            return None
        return cls(tuple(found["by"]), found["images"], found["budget"], found.get("reason", ""))

    def holds(self, images: int, budget: int, callbacks: Iterable[str]) -> bool:
        """True for a run that has seen as many images, has no larger budget and keeps one of these callbacks."""
        return images == self.images and budget <= self.budget and not set(self.by).isdisjoint(callbacks)

    def __str__(self) -> str:
        reason = f" ({self.reason})" if self.reason else ""
        return f"{' or '.join(self.by)} stopped it after {self.images:,} of {self.budget:,} images{reason}"
