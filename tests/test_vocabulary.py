"""Names and docstrings use the terms of the field: words and forms that none of them may carry.

REMAINING counts what each package still has of them. A number may only fall; a package without one has none.
"""

import ast
import re
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "mezzotint"
NAMES = (  # parts of the name of a module, a class or a public function
    r"actors|album|asks?|asked|balls?|faults?|ghost|hinge|house|judges?|judged|ladder|looks?|looked|mirrors?|quaint|"
    r"room|rung|story|strange|stranger|tells?|thrift|told|whole"
)
OPENINGS = r"What|Whether|How|Where|Which|When|Why|Who|All|Asks|Tells|Says|Lets|Judges|Looks"  # of a docstring
FORMS = (  # in the first line of a docstring
    r"told|asked for|what of|judged?|judges|hinge|ladder|mirrors?|thrift|rung|actors|balls?|house|by heart|"
    r"is said|are said|at a glance|that it is|lies? (in|beside|below)|as it is|whoever|whatever"
)
REMAINING: dict[str, int] = {}


def packages() -> list[str]:
    return sorted({file.relative_to(SOURCE).parts[0].removesuffix(".py") for file in SOURCE.rglob("*.py")})


def parts(name: str) -> set[str]:
    """The words of a name in snake_case or CamelCase, in lower case."""
    return {word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)}


def faults(name: str, text: str) -> list[str]:
    """The names and docstrings of a module that the rules forbid."""
    tree = ast.parse(text)
    named = [node for node in ast.walk(tree) if isinstance(node, (ast.ClassDef, ast.FunctionDef))]
    public = [node.name for node in named if not node.name.startswith("_")]
    found = [word for word in [Path(name).stem, *public] if any(re.fullmatch(NAMES, part) for part in parts(word))]
    for node in [tree, *named]:
        first = (ast.get_docstring(node) or "").partition("\n")[0]
        if re.match(rf"({OPENINGS})\b", first) or re.search(rf"\b({FORMS})\b", first):
            found.append(first)
    return [f"{name}: {fault}" for fault in found]


def faults_of(package: str) -> list[str]:
    files = [SOURCE / f"{package}.py", *sorted((SOURCE / package).rglob("*.py"))]
    return [
        fault
        for file in files
        if file.is_file()
        for fault in faults(file.relative_to(SOURCE).as_posix(), file.read_text(encoding="utf-8"))
    ]


@pytest.mark.parametrize("package", packages())
def test_names_and_first_lines_use_the_terms_of_the_field(package: str) -> None:
    found = faults_of(package)
    assert len(found) <= REMAINING.get(package, 0), "\n".join(found)


@pytest.mark.parametrize(
    "text",
    [
        "def told(): ...",
        "class RunAlbum: ...",
        "def is_whole(): ...",
        '"""What a module does."""',
        'def f():\n    """Whether it is so."""',
        '"""Samples that are judged."""',
    ],
)
def test_a_fault_is_found(text: str) -> None:
    assert len(faults("module.py", text)) == 1


def test_plain_names_and_sentences_pass() -> None:
    assert faults("ddim.py", '"""The DDIM sampler."""\nclass DDIM:\n    """Return the next sample."""') == []
