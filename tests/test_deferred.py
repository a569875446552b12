"""Modules that are imported, but not run before a name is read that they were not given answers for."""

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread

import pytest

from mezzotint.deferred import defer, from_submodules, has_run, run

Make = Callable[[str], None]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Writes a package `laid_aside` whose code is given and counts how often it is run; `part` is its submodule."""
    folder = tmp_path / "laid_aside"
    folder.mkdir()
    (folder / "part.py").write_text("import builtins\nbuiltins.parts = getattr(builtins, 'parts', 0) + 1\nvalue = 7\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))

    def write(code: str) -> None:
        count = "import builtins\nbuiltins.runs = getattr(builtins, 'runs', 0) + 1\n"
        (folder / "__init__.py").write_text(count + code)

    yield write
    import builtins

    for name in ("runs", "parts"):
        builtins.__dict__.pop(name, None)
    for name in [name for name in sys.modules if name.partition(".")[0] == "laid_aside"]:
        del sys.modules[name]


def counted(name: str) -> int:
    import builtins

    return builtins.__dict__.get(name, 0)


def test_it_is_run_when_a_name_is_read_without_an_answer_and_once(make: Make) -> None:
    make("known = 1\nother = 2\n")
    defer("laid_aside", {"known": lambda: 10})
    import laid_aside  # pyright: ignore[reportMissingImports]

    assert laid_aside.known == 10
    assert counted("runs") == 0
    assert not has_run("laid_aside")
    assert laid_aside.other == 2
    assert laid_aside.known == 1
    assert laid_aside.other == 2
    assert counted("runs") == 1
    assert has_run("laid_aside")
    with pytest.raises(AttributeError, match="missing"):
        _ = laid_aside.missing


def test_a_submodule_comes_alone_or_with_its_package(make: Make) -> None:
    make("from laid_aside import part\n")
    defer("laid_aside", from_submodules("laid_aside", {"value": "part"}))
    from laid_aside import value  # pyright: ignore[reportMissingImports]

    assert value == 7
    assert (counted("runs"), counted("parts")) == (0, 1)
    assert run("laid_aside").part.value == 7
    assert (counted("runs"), counted("parts")) == (1, 1)


def test_a_package_that_its_submodules_need_is_run_before_them_and_neither_twice(make: Make) -> None:
    make("from laid_aside import part\n")
    defer("laid_aside", {}, alone=False)
    import laid_aside  # pyright: ignore[reportMissingImports]

    assert counted("runs") == 0
    part = importlib.import_module("laid_aside.part")
    assert part is laid_aside.part
    assert (counted("runs"), counted("parts")) == (1, 1)


def test_a_submodule_that_takes_no_other_names_is_found(make: Make) -> None:
    """As torch._dynamo.config, a module of settings."""
    make("from . import part\n")
    Path(sys.path[0], "laid_aside/part.py").write_text(
        "import sys, types\n"
        "class Settings(types.ModuleType):\n"
        "    def __setattr__(self, name, value):\n"
        "        raise AttributeError(name)\n"
        "value = 7\n"
        "sys.modules[__name__].__class__ = Settings\n"
    )
    defer("laid_aside", {}, alone=False)
    part = importlib.import_module("laid_aside.part")
    assert part.value == 7
    assert part.__spec__.loader.path.endswith("part.py")


def test_while_it_runs_it_reads_itself_without_the_answers(make: Make) -> None:
    make("import laid_aside\nbefore = hasattr(laid_aside, 'known')\nknown = 1\n")
    defer("laid_aside", {"known": lambda: 10})
    assert run("laid_aside").before is False


def test_another_thread_waits_until_it_has_been_run(make: Make) -> None:
    make("import time\ntime.sleep(0.1)\nlast = 3\n")
    defer("laid_aside", {})
    import laid_aside  # pyright: ignore[reportMissingImports]

    read: list[int] = []
    threads = [Thread(target=lambda: read.append(laid_aside.last)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert read == [3, 3, 3]
    assert counted("runs") == 1


def test_what_fails_can_be_run_again(make: Make) -> None:
    make("import builtins\nif builtins.runs == 1:\n    raise ImportError('not yet')\nlast = 3\n")
    defer("laid_aside", {})
    import laid_aside  # pyright: ignore[reportMissingImports]

    with pytest.raises(ImportError, match="not yet"):
        _ = laid_aside.last
    assert laid_aside.last == 3


def test_what_has_been_imported_is_left_alone(make: Make) -> None:
    make("known = 1\n")
    import laid_aside  # pyright: ignore[reportMissingImports]

    defer("laid_aside", {"known": lambda: 10})
    assert laid_aside.known == 1
