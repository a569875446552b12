"""The learning rate of a run in words: its highest, and what becomes of it when the budget of a run is changed."""

from mezzotint.app.config.job import Config
from mezzotint.app.config.parts import Parts
from mezzotint.training.optimizers import peak

LOW = 0.5  # of lr: a run that never reaches so much hardly trains


def told(config: Config, parts: Parts) -> str:
    """The highest rate, when it is reached, and a word where that is far below lr."""
    lr = config["optimizer"].get("lr")
    highest, images = peak(parts.optimizer, config["batch_size"], config["budget"])
    said = f"{highest:.3g} after {images:,} images"
    if isinstance(lr, (int, float)) and highest < LOW * lr:
        said += f" (of lr={lr:g}: the warm-up is long for this budget; optimizer.warmup=0.1 makes it a tenth of it)"
    return said


def changed(old: Config, config: Config, step: int, parts: Parts) -> str | None:
    """What another budget does to a run that goes on after a step; None where its learning rate goes on as it was."""
    batch, before, now = config["batch_size"], old["budget"], config["budget"]
    if not step or before == now:
        return None
    seen, rate = step * batch, parts.optimizer.rate
    if step >= -(-now // batch):
        return f"{seen:,} images are seen, no fewer than budget={now} asks for: nothing is trained"
    last, following = f"{rate(seen - batch, batch, before):.2g}", f"{rate(seen, batch, now):.2g}"
    if last == following:
        return None
    return (
        f"budget={now} after {before}: the learning rate goes from {last} to {following}, since its decay now "
        f"ends with {now:,} images"
    )
