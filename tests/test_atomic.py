"""A file or a folder is there as a whole or not at all, and what was there before stays until then."""

from pathlib import Path

import pytest

from mezzotint.atomic import atomic_path, remove_partials


def fill(path: Path, *names: str) -> None:
    path.mkdir()
    for name in names:
        (path / name).write_text(name)


def test_a_file_and_a_folder_take_the_place_of_the_old(tmp_path: Path) -> None:
    for text in ("old", "new"):
        with atomic_path(tmp_path / "a.txt") as part:
            assert part.suffix == ".txt"  # for what goes by the name
            part.write_text(text)
    assert (tmp_path / "a.txt").read_text() == "new"
    fill(tmp_path / "folder", "1", "2", "3")
    with atomic_path(tmp_path / "folder") as part:
        fill(part, "1")
        assert len(list((tmp_path / "folder").iterdir())) == 3
    assert [file.name for file in (tmp_path / "folder").iterdir()] == ["1"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.txt", "folder"]


def test_a_link_to_a_folder_is_replaced_and_not_followed(tmp_path: Path) -> None:
    fill(tmp_path / "far", "1")
    (tmp_path / "link").symlink_to("far")
    with atomic_path(tmp_path / "link") as part:
        fill(part, "2")
    assert [file.name for file in (tmp_path / "far").iterdir()] == ["1"]
    assert [file.name for file in (tmp_path / "link").iterdir()] == ["2"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["far", "link"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("folder", [False, True])
def test_nothing_is_left_of_what_fails(folder: bool, error: type[BaseException], tmp_path: Path) -> None:
    fill(tmp_path / "x", "1")

    def fail(folder: bool) -> None:
        with atomic_path(tmp_path / "x") as part:
            if folder:
                fill(part, "2")
            else:
                part.write_text("half")
            raise error

    with pytest.raises(error):
        fail(folder)
    with pytest.raises(error), atomic_path(tmp_path / "x"):
        raise error
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == ["x", "x/1"]


def test_a_file_never_takes_the_place_of_a_folder(tmp_path: Path) -> None:
    fill(tmp_path / "photos.png", "1")
    with pytest.raises(IsADirectoryError), atomic_path(tmp_path / "photos.png") as part:
        part.write_text("one photo")
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == ["photos.png", "photos.png/1"]


def test_what_is_being_made_is_no_file_of_its_kind(tmp_path: Path) -> None:
    """Or a report would show half a picture, and a list of runs a run that is not there yet."""
    for name in ("config.yaml", "grid.png"):
        with atomic_path(tmp_path / name) as part:
            part.write_text("half")
            assert not [*tmp_path.glob("*.png"), *tmp_path.glob("*/config.yaml")]


def test_what_the_killed_leave_behind_is_cleared(tmp_path: Path) -> None:
    (tmp_path / "kept.txt").write_text("kept")
    making = atomic_path(tmp_path / "a.txt")
    making.__enter__().write_text("half")
    remove_partials(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["kept.txt"]
