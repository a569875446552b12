"""Figures: grids, film strips and plots, made with Pillow and matplotlib from samples and logs."""

from mezzotint.lazy import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "images": "film_strip gif grid show",
        "views": "as_frames as_images table_as_images",
        "plots": "plot_grids plot_schedules plot_times plot_weights",
        "loss_curves": "plot_loss plot_loss_by_level read_metrics",
        "sample_tables": "plot_film plot_matrix plot_neighbours plot_table",
    },
)
