"""The arguments of `mezzotint plot run=DIR`."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from mezzotint.app.config.arguments import at_home, follows, own_configs, readable
from mezzotint.app.config.validate_arguments import check_pair
from mezzotint.app.help import KINDS
from mezzotint.errors import ConfigError
from mezzotint.instantiate.locate import did_you_mean
from mezzotint.runs import RunDir

WORDS = ("run", "kind", "out", "n", "samples", "points", "frames", "features")  # every other word is for the config


@dataclass(frozen=True)
class PlotRequest:
    """The parsed arguments of `mezzotint plot run=DIR`.

    Args:
        kind: of picture, see KINDS.
        own: the words that are not for the run's config.
        overrides: those that are, with one value each.
        swept: those with several values, in the order in which they were given.
        flags: such as --config-dir DIR.
    """

    kind: str
    own: dict[str, str]
    overrides: list[str]
    swept: dict[str, list[str]]
    flags: list[str]

    @property
    def runs(self) -> list[Path]:
        return places(self.own["run"])

    def number(self, key: str, default: int, least: int = 1) -> int:
        text = self.own.get(key, str(default))
        if not text.isdigit() or int(text) < least:
            raise ConfigError(f"{key}={text}: give a whole number, {least} or more")
        return int(text)

    def numbers(self, default: int) -> list[int]:
        """The samples to draw: samples=0,5,7, or the first n."""
        if "samples" not in self.own:
            return list(range(self.number("n", default)))
        words = self.own["samples"].split(",")
        if not all(word.isdigit() for word in words):
            raise ConfigError(f"samples={self.own['samples']}: give the numbers of samples, such as samples=0,5,7")
        return [int(word) for word in words]

    @property
    def name(self) -> str:
        """The file name: the kind of plot, the swept keys, and a hash of the other arguments."""
        own = [f"{key}={word}" for key, word in self.own.items() if key not in ("run", "kind", "out")]
        words = sorted([*self.overrides, *own])
        text = "-".join([self.kind, *("-".join([key, *values]) for key, values in self.swept.items())])
        safe = "".join(letter if letter.isalnum() or letter in "._-" else "_" for letter in text)[:80]
        rest = hashlib.sha256(" ".join(words).encode()).hexdigest()[:6]
        return f"{safe}-{rest}" if words else safe


def parse(words: Sequence[str]) -> PlotRequest:
    """Parse the arguments.

    Raises:
        ConfigError: a word without a value, of another kind of picture, or more keys with commas than it has room for.
    """
    split = [word for word in words if word not in ("-m", "--multirun")]
    flags = [word for last, word in pairwise(["", *split]) if word.startswith("-") or follows(last, word)]
    words = [word for last, word in pairwise(["", *split]) if not (word.startswith("-") or follows(last, word))]
    known = ("--config-dir", "-cd")
    if strange := [word for word in flags if word.startswith("-") and word.partition("=")[0] not in known]:
        raise ConfigError(f"{strange[0]}: plot run=DIR takes no option but --config-dir DIR")
    for word in words:
        check_pair(word, many=True, own=own_configs(flags))
    pairs = {key: value for key, _, value in (word.partition("=") for word in words)}
    own = {key: value for key, value in pairs.items() if key in WORDS}
    overrides, swept = unfold([readable(at_home(word)) for word in words if word.partition("=")[0] not in WORDS])
    kind = own.get("kind") or ("samples" if swept or overrides or own.keys() & {"n", "samples"} else "loss")
    if kind not in KINDS:
        raise ConfigError(f"kind={kind}: no such picture{did_you_mean(kind, KINDS)} ({', '.join(KINDS)})")
    room = {"samples": 2}.get(kind, 0)
    if len(swept) > room:
        raise ConfigError(
            f"{', '.join(swept)}: kind={kind} has room for {room} keys with several values; "
            "kind=samples takes two, as rows and as blocks beside each other"
        )
    if kind in ("loss", "levels") and overrides:
        raise ConfigError(f"{overrides[0]}: kind={kind} shows what was trained; kinds that draw samples can change it")
    if len(places(own["run"])) > 1 and kind != "loss":
        raise ConfigError(f"run={own['run']}: kind={kind} shows one run; kind=loss compares several")
    return PlotRequest(kind, own, overrides, swept, flags)


def places(said: str) -> list[Path]:
    """The folders of run=DIR,DIR; or of one whose name has a comma in it."""
    whole = Path(said).expanduser()
    return [whole] if RunDir(whole).exists() else [Path(name).expanduser() for name in said.split(",")]


def unfold(words: Sequence[str]) -> tuple[list[str], dict[str, list[str]]]:
    """The words with one value, and those with several as Hydra reads them: a=1,2 or 'a=range(1,4)'."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    single, swept = [], {}
    for word, parsed in zip(words, OverridesParser.create().parse_overrides(list(words)), strict=True):
        if parsed.is_sweep_override():
            swept[word.partition("=")[0].lstrip("+")] = [str(value) for value in parsed.sweep_string_iterator()]
        else:
            single.append(word)
    return single, swept
