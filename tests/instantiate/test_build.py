"""A config node is checked against the call it stands for, and built without Hydra."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import pytest

from mezzotint.errors import ConfigError, DataError
from mezzotint.instantiate.build import build, check, format_type, matches

HERE = "tests_build_targets"


class Base:
    pass


@dataclass(frozen=True)
class Inner(Base):
    rate: float = 0.1
    sizes: tuple[int, ...] = (1, 2)

    def __post_init__(self) -> None:
        if self.rate < 0:
            raise ValueError(f"rate={self.rate} is negative; give 0 or more")


@dataclass(frozen=True)
class Outer:
    width: int
    inner: Base
    mode: Literal["fast", "exact"] = "fast"
    limit: float | None = None


@dataclass(frozen=True)
class Picky:
    root: str = ""

    def __post_init__(self) -> None:
        raise DataError(f"{self.root} is empty; put images there")


def total(a: int, b: int = 2) -> int:
    return a + b


class Named(Protocol):
    name: str


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, HERE, sys.modules[__name__])


def node(name: str, **given: Any) -> dict[str, Any]:
    return {"_target_": f"{HERE}.{name}", **given}


@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        (node("Outer", widht=1, inner=node("Inner")), "net.widht: Outer has no such argument; did you mean 'width'?"),
        (node("Outer", inner=node("Inner")), "net.width: Outer requires this argument"),
        (node("Outer", width=True, inner=node("Inner")), "net.width: True is not int"),
        (node("Outer", width=1, inner=node("Inner"), mode="fats"), "net.mode: 'fats' is not one of 'fast', 'exact'"),
        (node("Outer", width=1, inner=node("Inner"), limit="much"), "net.limit: 'much' is not float or null"),
        (node("Outer", width=1, inner=node("Picky")), "net.inner: Picky is not Base"),
        (node("Outer", width=1, inner="fast"), "net.inner: 'fast' is not Base"),
        (
            node("Outer", width=1, inner=node("Inner", sizes=[1, "x"])),
            "net.inner.sizes: [1, 'x'] is not tuple[int",
        ),
        (node("Outer", width="???", inner=node("Inner")), "net.width: a value is needed; give it as net.width=VALUE"),
        (node("Outr", width=1), f"net._target_: {HERE} has no 'Outr'; did you mean 'Outer'?"),
        ({"_target_": "no.such.Thing"}, "net._target_: cannot import 'no.such.Thing' (No module named 'no')"),
        ({"_target_": "Thing"}, "net._target_: 'Thing' is not the dotted path of a class or function"),
        ([node("Inner", rat=1)], "net[0].rat: Inner has no such argument; did you mean 'rate'?"),
        ({"a": node("Inner", zzz=1)}, "net.a.zzz: Inner has no such argument (it takes rate, sizes)"),
    ],
)
def test_each_fault_is_one_line_with_its_place_and_a_cure(bad: Any, problem: str) -> None:
    problems = check(bad, "net")
    assert len(problems) == 1
    assert problems[0].startswith(problem)


def test_faults_are_all_told_at_once() -> None:
    assert len(check(node("Outer", width=None, inner=node("Inner", rate="x"), mod=1), "net")) == 3


def test_a_number_that_yaml_reads_as_text_is_explained() -> None:
    (problem,) = check(node("Inner", rate="1e-4"), "optimizer")
    assert "1.0e-4" in problem


def test_arguments_added_by_the_builder_are_neither_missing_nor_free_to_be_given() -> None:
    assert check(node("Outer", width=1), "net", provided=["inner"]) == []
    assert check(node("Outer", width=1, inner=None), "net", provided=["inner"])


def test_a_good_node_builds_with_tuples_and_floats_where_the_hints_say_so() -> None:
    good = node("Outer", width=3, inner=node("Inner", rate=1, sizes=[3, 4]), limit=2)
    assert check(good) == []
    built = build(good)
    assert built == Outer(3, Inner(1.0, (3, 4)), "fast", 2.0)
    assert isinstance(built.inner.rate, float)
    assert isinstance(built.limit, float)


def test_lists_dicts_plain_values_functions_and_extras_build() -> None:
    assert build({"x": [node("total", a=1)], "y": None}) == {"x": [3], "y": None}
    assert build(node("total", a=1), b=5) == 6


def test_errors_of_constructors_carry_the_place_and_keep_their_kind() -> None:
    with pytest.raises(ConfigError, match=r"^net\.inner: rate=-1\.0 is negative; give 0 or more$"):
        build(node("Outer", width=1, inner=node("Inner", rate=-1)), "net")
    with pytest.raises(DataError, match=r"^data: /x is empty"):
        build(node("Picky", root="/x"), "data")


@pytest.mark.parametrize(
    ("value", "hint", "fit"),
    [
        (1, float, True),
        (True, int, False),
        (1.0, int, False),
        (None, int | None, True),
        ([1, 2], list[int], True),
        ([1, 2], tuple[int, int], True),
        ([1, 2, 3], tuple[int, int], False),
        ([1], Sequence[int], True),
        ("ab", list[int], False),
        ([1], int, False),
        ({"a": 1}, dict[str, int], True),
        ({"a": "b"}, dict[str, int], False),
        ("x", Path, True),
        (3, Path, False),
        ("x", Callable, False),
        ("x", Named, False),
        ("x", Any, True),
        (1, Literal[True], False),
    ],
)
def test_values_against_hints(value: Any, hint: Any, fit: bool) -> None:
    assert matches(value, hint) is fit


def test_hints_are_spelt_for_people() -> None:
    assert format_type(tuple[int, ...] | None) == "tuple[int, ...] or null"


def test_importing_build_costs_neither_torch_nor_hydra() -> None:
    heavy = "{'torch', 'hydra', 'omegaconf', 'yaml'}"
    code = f"import sys, mezzotint.instantiate.build; print(sorted({heavy} & set(sys.modules)))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_one_value_in_place_of_a_list_is_shown_as_a_list():
    node = {"_target_": "mezzotint.networks.UNet", "shape": [1, 8, 8], "attention": 16}
    assert check(node, "network") == ["network.attention: 16 is not Sequence[int]; did you mean [16]?"]
