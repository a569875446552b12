"""Pictures that metrics return, as files beside an evaluation."""

from dataclasses import replace
from pathlib import Path

from mezzotint.app.terminal import display_path
from mezzotint.atomic import atomic_path
from mezzotint.data import Codec
from mezzotint.distributed import rank_and_world
from mezzotint.metrics import Evaluation, ImageTable


def write_pictures(evaluation: Evaluation, path: Path, codec: Codec) -> Evaluation:
    """Write each picture beside the evaluation's file, by the first process; return the evaluation that names them."""
    metrics = dict(evaluation.protocol["metrics"])
    notes = []
    for name, table in evaluation.pictures.items():
        file = path.with_name(f"{path.stem}-{name}.png")
        if rank_and_world()[0] == 0:
            save(table, file, codec)
        metrics[name] = metrics[name] | {"picture": file.name}
        notes.append(f"{table.caption}: {display_path(file)}")
    return evaluation.with_notes(*notes, metrics=metrics)


def save(table: ImageTable, file: Path, codec: Codec) -> None:
    from mezzotint.figures import plot_table, table_as_images

    file.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(file) as part:
        plot_table(replace(table, images=table_as_images(table.images, codec))).savefig(
            part, dpi=160, bbox_inches="tight", pad_inches=0.1
        )
