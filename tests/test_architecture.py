"""No module and no package imports another in a circle; imports for types and inside functions count too."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "src"
FILES = {
    ".".join(file.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__"): file
    for file in sorted((SOURCE / "mezzotint").rglob("*.py"))
}
Graph = dict[str, set[str]]


def imported(module: str, tree: ast.AST) -> Iterator[str]:
    """Yield the modules of ours that a module's import statements name, and those in import_module("...")."""
    package = module if FILES[module].name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            named = [f"{base}.{alias.name}" for alias in node.names]
            submodules = [name for name in named if name in FILES]
            yield from submodules
            if len(submodules) < len(named):
                yield base
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "import_module":
            yield from (word.value for word in node.args if isinstance(word, ast.Constant))


def graph() -> Graph:
    edges: Graph = {}
    for module, file in FILES.items():
        found = {name for name in imported(module, ast.parse(file.read_text())) if name in FILES}
        # a package imports its own modules to offer their names; that is no dependency of the package
        edges[module] = set() if file.name == "__init__.py" else found - {module}
    return edges


def circle(edges: Graph) -> list[str]:
    """Return one circle, its first node repeated at the end; nothing if there is none."""
    done: set[str] = set()

    def walk(node: str, path: list[str]) -> list[str]:
        if node in path:
            return [*path[path.index(node) :], node]
        if node in done:
            return []
        for after in sorted(edges.get(node, ())):
            if found := walk(after, [*path, node]):
                return found
        done.add(node)
        return []

    return next((found for node in sorted(edges) if (found := walk(node, []))), [])


def siblings(edges: Graph) -> dict[str, Graph]:
    """Return, for each package, the imports between the modules and packages that lie in it."""
    found: dict[str, Graph] = defaultdict(lambda: defaultdict(set))
    for module, others in edges.items():
        for other in others:
            here, there = module.split("."), other.split(".")
            depth = next((i for i, (a, b) in enumerate(zip(here, there, strict=False)) if a != b), None)
            if depth is not None:
                package = ".".join(here[:depth])
                found[package][".".join(here[: depth + 1])].add(".".join(there[: depth + 1]))
    return found


def test_no_modules_import_each_other() -> None:
    edges = graph()
    assert not circle(edges), " -> ".join(circle(edges))


def test_no_packages_import_each_other() -> None:
    """In each folder, what lies side by side, packages and modules, has an order."""
    found = {package: circle(edges) for package, edges in siblings(graph()).items()}
    assert not any(found.values()), {package: " -> ".join(names) for package, names in found.items() if names}
