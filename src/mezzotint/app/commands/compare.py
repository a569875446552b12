"""`mezzotint compare A B`: rank evaluations of one protocol; list the differences of others."""

import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from mezzotint.app.results.evaluations import Result, alike, columns, conflicts, gathered, open_results
from mezzotint.app.results.images_to_quality import Evaluated, History, history, unlike
from mezzotint.app.terminal import display_path, table
from mezzotint.errors import ConfigError

SURE = 2.0  # standard errors of a difference, from which on it is more than chance


def main(words: Sequence[str]) -> None:
    """Rank evaluations given as files, or as runs with all their evaluations; with to=VALUE, rank runs by what it took.

    Raises:
        ConfigError: a word names no evaluation, or no protocol is common to all of them.
    """
    if wanted := [word for word in words if word.startswith("to=") and not Path(word).exists()]:
        rank_histories([word for word in words if word not in wanted], wanted[-1])
        return
    for word in words:
        if word.startswith("-") or ("=" in word and not Path(word).exists()):
            raise ConfigError(f"{word}: compare only takes runs and evaluation files: mezzotint compare runs/a runs/b")
    given = [open_results(Path(word).expanduser()) for word in words]
    if sum(map(len, given)) < 2:
        raise ConfigError(
            "what should be compared? Give two or more runs or evaluations: mezzotint compare runs/a runs/b"
        )
    groups = common(given)
    if not groups:
        raise ConfigError(refusal(words, given))
    for group in sorted(groups, key=lambda group: -group[0].made["n"]):
        rank(group)


def common(given: Sequence[Sequence[Result]]) -> list[list[Result]]:
    """Return comparable results in groups of one protocol; every argument contributes to each group."""
    owner = {id(result): i for i, results in enumerate(given) for result in results}
    groups = alike(result for results in given for result in results)
    shared = [group for group in groups if len({owner[id(result)] for result in group}) == len(given)]
    return [together for group in shared if (together := with_common_metric(gathered(group)))]


def with_common_metric(results: list[Result]) -> list[Result]:
    """Return the results that share a metric with the first one."""
    return [one for one in results if set(one.names) & set(results[0].names)]


def refusal(words: Sequence[str], given: Sequence[Sequence[Result]]) -> str:
    """Return the differences of each argument's newest protocol from that of the first argument."""
    one = given[0][-1]
    lines = []
    for word, results in zip(words[1:], given[1:], strict=True):
        other = min(results, key=lambda result: len(conflicts(one, result)))
        differ = conflicts(one, other)
        lines += [
            f"  {key}: {abbreviated(one.protocol[key])} ({words[0]}), {abbreviated(other.protocol[key])} ({word})"
            for key in differ
        ]
        if not differ and not set(one.names) & set(other.names):
            lines.append(f"  values: {', '.join(one.names)} ({words[0]}), {', '.join(other.names)} ({word})")
    return "\n".join(["these values cannot be ranked because their protocols differ:", *lines])


def abbreviated(value: Any) -> str:
    """Format a value of the protocol; hashes are abbreviated."""
    text = str(value)
    return text[:12] if len(text) == 64 and set(text) <= set("0123456789abcdef") else text


def rank(results: Sequence[Result]) -> None:
    """Print the table, sorted by the first common value, and which differences may be due to chance."""
    names = [name for name in results[0].names if all(name in result.names for result in results)]
    others = [name for name in dict.fromkeys(n for result in results for n in result.names) if name not in names]
    by = (names or others)[0]
    higher = any(result.higher_is_better(by) for result in results)
    having = [result for result in results if by in result.evaluation.values]
    best = sorted(having, key=lambda result: (-1 if higher else 1) * result.evaluation.values[by])
    held = {key: [result.subject.get(key, "") for result in best] for key in columns(best)}
    if len({tuple(result.subject.values()) for result in best}) < len(best):  # runs of one name in two places
        held = {"from": [result.origin for result in best]} | held
    if any(result.calls for result in best):
        held["calls"] = [f"{result.calls:g}" for result in best]
    held |= {name: [cell(result, name) for result in best] for name in (*names, *others)}
    table([[str(i + 1), *row] for i, row in enumerate(zip(*held.values(), strict=True))], ["", *held])
    made = best[0].made
    real = made["reference"]
    print(f"n={made['n']:,} against {real['count']:,} real ones, sha256 {abbreviated(real['sha256'])}")
    print(f"ranked by {by}, {'higher' if higher else 'lower'} is better")
    for line in doubts(best, by):
        print(line)


def rank_histories(words: Sequence[str], wanted: str) -> None:
    """Print the images and minutes that each run trained until its metric of samples was at a value or better.

    Raises:
        ConfigError: to= is no number, no run is given, a run was not evaluated while it trained, or runs were evaluated
            in different ways.
    """
    threshold = finite_number(wanted)
    if not words:
        raise ConfigError(f"{wanted} of which runs? mezzotint compare runs/a runs/b {wanted}")
    histories = [history(Path(word).expanduser()) for word in words]
    first = histories[0]
    for word, other in zip(words[1:], histories[1:], strict=True):
        if other.name != first.name:
            raise ConfigError(f"{words[0]} was evaluated by {first.name}, {word} by {other.name}: they have no order")
        if differ := unlike(first.run, other.run):
            raise ConfigError(f"{words[0]} and {word} were evaluated in different ways: {', '.join(differ)} differ")
    reached = {id(one): one.first(threshold) for one in histories}
    ordered = sorted(histories, key=lambda one: found.images if (found := reached[id(one)]) else math.inf)
    table([way(one, reached[id(one)]) for one in ordered], ["run", "images", "minutes", first.name])
    sign = ">=" if first.higher_is_better else "<="
    print(f"the first evaluation with {first.name} {sign} {threshold:g}; nothing between two of them is interpolated")


def way(one: History, found: Evaluated | None) -> list[str]:
    """Return the row of a run that reached the value, or of its best evaluation."""
    if found is None:
        return [display_path(one.run), "not reached", "", f"{one.best.value:.4g} after {one.best.images:,}"]
    minutes = "" if found.seconds is None else f"{found.seconds / 60:.1f}"
    return [display_path(one.run), f"{found.images:,}", minutes, f"{found.value:.4g}"]


def finite_number(word: str) -> float:
    """Return the number behind to=. Raises ConfigError."""
    try:
        value = float(word.removeprefix("to="))
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ConfigError(f"{word}: give a number, such as to=0.5")
    return value


def cell(result: Result, name: str) -> str:
    return result.evaluation.shown(name) if name in result.evaluation.values else ""


def doubts(best: Sequence[Result], by: str) -> list[str]:
    """Return notes on neighbours in the ranking that differ by less than their errors, and on differing versions."""
    lines = []
    for i, (one, other) in enumerate(pairwise(best)):
        errors = [result.evaluation.error(by) for result in (one, other)]
        known = [error.of_value for error in errors if error is not None]
        difference = abs(one.evaluation.values[by] - other.evaluation.values[by])
        if known and difference <= SURE * math.hypot(*known):
            lines.append(
                f"{i + 1} and {i + 2} differ by {difference:.2g}, within their errors "
                f"({SURE:g} standard errors of the difference are {SURE * math.hypot(*known):.2g})"
            )
    if not any(result.evaluation.error(by) for result in best):
        lines.append(
            "no errors are known: seeds=3 or metrics=[...,fid_bootstrap] show whether a difference is due to chance"
        )
    versions = [result.made.get("versions", {}) for result in best]
    names = dict.fromkeys(name for version in versions for name in version)
    moved = [name for name in names if len({version.get(name) for version in versions}) > 1]
    return [*lines, *([f"the versions differ in {', '.join(moved)}"] if moved else [])]
