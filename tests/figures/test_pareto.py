"""Quality against cost: the Pareto front by hand, and what a plot of it holds."""

import io

import pytest

from mezzotint.figures.pareto import Panel, Point, pareto, plot_quality, spread

CHEAP, DEAR, BETWEEN, WORSE, EQUAL = Point(5, 3.0), Point(50, 1.0), Point(20, 2.0), Point(30, 2.5), Point(60, 1.0)


def test_the_front_holds_what_nothing_beats_in_both() -> None:
    points = [EQUAL, WORSE, DEAR, CHEAP, BETWEEN]
    assert pareto(points) == [CHEAP, BETWEEN, DEAR]
    assert pareto(points, higher_is_better=True) == [CHEAP]
    assert pareto([Point(5, 2.0), Point(5, 1.0)]) == [Point(5, 1.0)]
    assert pareto([]) == []


def test_a_plot_has_a_line_each_its_errors_the_front_and_the_mark() -> None:
    lines = {"ddim": [DEAR, CHEAP], "heun": [Point(10, 40.0, 0.5), WORSE]}
    figure = plot_quality([Panel("fd", lines, marks={"halves": 0.7}), Panel("recall", lines, higher_is_better=True)])
    first, second = figure.axes
    assert [container.get_label() for container in first.containers] == ["ddim", "heun"]
    assert first.containers[0].lines[0].get_xdata().tolist() == [5, 50]
    assert [bool(container.has_yerr) for container in first.containers] == [False, True]
    colours = {container.lines[0].get_color() for container in first.containers}
    shapes = {container.lines[0].get_marker() for container in first.containers}
    assert len(colours) == len(shapes) == 2
    assert first.collections[-1].get_offsets().tolist() == [[5, 3.0], [30, 2.5], [50, 1.0]]
    assert (first.get_xscale(), first.get_yscale(), second.get_title()) == ("log", "log", "recall (higher is better)")
    assert [text.get_text() for text in figure.legends[0].texts] == ["Pareto front", "halves", "ddim", "heun"]
    figure.savefig(io.BytesIO(), format="svg")


def test_values_below_zero_are_drawn_on_a_level_scale() -> None:
    figure = plot_quality([Panel("kd", {"ddim": [Point(5, -0.01), Point(10, 4.0)]})])
    assert figure.axes[0].get_yscale() == "linear"
    figure.savefig(io.BytesIO(), format="png")


def test_nothing_to_draw_is_said() -> None:
    with pytest.raises(ValueError, match="no point"):
        plot_quality([Panel("fd", {"ddim": []})])


def test_numbers_on_the_axis_stand_apart_and_the_frequent_ones_are_written() -> None:
    assert spread([5, 6, 9, 10, 19, 20, 50, 51]) == [5, 9, 19, 50]
    assert spread([9, 10, 10, 19, 20, 20, 99]) == [10, 20, 99]
