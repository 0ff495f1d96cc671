"""Measures the layout of the package: ``python -m devtools.house``, without importing it.

It prints a table of measures and their targets, and fails if a target is exceeded. Import circles and imports
against the order of the rooms matter most: no part of a circle can be read, tested or moved without the rest.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "airflow_provider_moengage"

ORDER: tuple[tuple[str, ...], ...] = (
    ("arguments",),
    ("storage", "scratch"),
    ("api",),
    (
        *("bulk.changes", "bulk.clock", "bulk.expect", "bulk.options", "bulk.report", "bulk.results"),
        *("bulk.elements.rules", "bulk.elements.weight"),
    ),
    ("bulk.elements.findings", "bulk.elements.instructions", "bulk.elements.unset"),
    ("bulk.batch", "bulk.mapping"),
    ("bulk.elements",),
    ("bulk.sources",),
    ("bulk.rate_limit",),
    ("bulk.resume",),
    ("bulk.changed",),
    ("bulk.run",),
    ("polling",),
    ("exceptions", "connection_form", "metrics", "lineage"),
    ("hooks",),
    ("retry_policy",),
    ("sources",),
    ("tables",),
    ("results",),
    ("import_files", "campaign_stats", "arrival", "erasure"),
    ("triggers",),
    ("tasks",),
    ("links", "notifications"),
    ("operators", "sensors", "transfers"),
    ("decorators",),
    ("command",),
    ("page",),
    ("get_provider_info",),
)
"""The rooms of the package, lowest first. A module imports from its own line and from the lines above it.

What follows from MoEngage's API (``api``, ``bulk``, ``polling``) is lower than what follows from Airflow, so it
runs and is tested without Airflow. What tasks share (``hooks``, ``sources``, ``tasks``) is lower than the
operators, so no operator imports another. ``decorators`` are made of operators. ``exceptions`` needs Airflow's
base classes, so it is the lowest room that needs Airflow. A longer name takes precedence over a shorter one:
the rules of elements, which are constants, and their weight are lower than the mapping and the batch that use
them, and these are lower than the rest of ``bulk.elements``.
"""

WITHOUT_AIRFLOW = ("api", "bulk", "polling")
"""These import no Airflow, not even for types: other programs and the benchmarks use them on their own."""

LAZY_AIRFLOW = ("arguments", "storage")
"""These import Airflow inside functions only, because rooms without Airflow import them."""

APART = "emulator"
"""The emulator shares no code with the rest, so that neither side inherits a misunderstanding of the API."""

PUBLIC_BASES = ("Operator", "Sensor", "SensorOperator", "Trigger", "EventTrigger", "Notifier", "Hook")


@dataclass(frozen=True)
class Import:
    """One name that one module of the package imports."""

    importer: str
    imported: str  # a module of this package without the package's name, or a name such as "airflow.sdk"
    own: bool
    line: int
    in_function: bool
    types_only: bool


@dataclass(frozen=True)
class Measure:
    """One line of the table."""

    name: str
    start: str
    now: str
    target: str
    exceeded: bool = False


class Package:
    """The modules of a package, parsed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.trees = {
            _module_name(path.relative_to(folder)): ast.parse(path.read_text(encoding="utf-8"), str(path))
            for path in sorted(folder.rglob("*.py"))
        }
        self.imports = [found for module in self.trees for found in self._imports_of(module)]

    def files_side_by_side(self) -> Counter[str]:
        """Return how many modules each folder holds."""
        paths = (path for path in self.folder.rglob("*.py") if not path.name.startswith("__"))
        return Counter(path.parent.relative_to(self.folder).as_posix() for path in paths)

    def circles(self) -> list[list[str]]:
        """Return the groups of modules that import each other, imports in functions and for types included."""
        graph: dict[str, set[str]] = defaultdict(set)
        for found in self.imports:
            if found.own and found.imported != found.importer:
                graph[found.importer].add(found.imported)
        reach = {module: _reachable(module, graph) for module in graph}
        groups = {
            frozenset(other for other in reached if module in reach.get(other, ()))
            for module, reached in reach.items()
        }
        return sorted(sorted(group) for group in groups if group)

    def imports_in_functions(self) -> list[Import]:
        """Return the import statements inside functions that import modules of this package."""
        statements = {
            (found.importer, found.line): found for found in self.imports if found.own and found.in_function
        }
        return list(statements.values())

    def against_the_order(self) -> list[str]:
        """Return a sentence for each import that the order of the rooms forbids."""
        wrong = []
        for found in self.imports:
            reason = _own_objection(found) if found.own else _airflow_objection(found)
            if reason:
                wrong.append(f"{found.importer}:{found.line} imports {found.imported}: {reason}")
        return list(dict.fromkeys(wrong))

    def constructor_parameters(self, public: frozenset[str] = frozenset()) -> dict[str, int]:
        """Return how many constructor parameters each class has.

        Left out are public classes, operators and the like, whose parameters are an interface, and records: a
        frozen dataclass holds data, and has as many fields as, for example, a response.
        """
        counts = {}
        for module, tree in self.trees.items():
            for node in ast.walk(tree):
                name = f"{module}.{getattr(node, 'name', '')}"
                if isinstance(node, ast.ClassDef) and name not in public and not _is_exempt(node):
                    counts[name] = _parameters(node)
        return counts

    def path_literals(self) -> dict[str, set[str]]:
        """Return the paths of MoEngage's API that modules of the emulator contain, and in which modules."""
        where: dict[str, set[str]] = defaultdict(set)
        for module, tree in self.trees.items():
            if _is_in(module, APART):
                for node in ast.walk(tree):
                    if isinstance(node, ast.Constant) and re.match(r"/v\d[\w./{}-]*$", str(node.value)):
                        where[str(node.value)].add(module)
        return where

    def _imports_of(self, module: str) -> Iterator[Import]:
        for node, in_function, types_only in _import_nodes(self.trees[module]):
            for name, own in self._names(module, node):
                if name:
                    yield Import(module, name, own, node.lineno, in_function, types_only)

    def _names(self, module: str, node: ast.Import | ast.ImportFrom) -> Iterator[tuple[str, bool]]:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield self._own(alias.name)
            return
        base = node.module or ""
        if node.level:
            is_package = (self.folder / Path(*module.split(".")) / "__init__.py").exists()
            parts = [self.folder.name, *module.split(".")]
            parts = parts[: len(parts) - node.level + is_package]
            base = ".".join([*parts, *filter(None, [node.module])])
        for alias in node.names:
            name, own = self._own(f"{base}.{alias.name}")
            yield (name, own) if name in self.trees else self._own(base)

    def _own(self, name: str) -> tuple[str, bool]:
        prefix = f"{self.folder.name}."
        return (name.removeprefix(prefix), True) if name.startswith(prefix) else (name, name == self.folder.name)


def measures(package: Package, public: frozenset[str]) -> list[Measure]:
    """Return the lines of the table."""
    [(folder, files)] = package.files_side_by_side().most_common(1)
    circles = package.circles()
    against = package.against_the_order()
    deferred = package.imports_in_functions()
    parameters = package.constructor_parameters(public)
    largest = max(parameters, key=parameters.__getitem__, default="-")
    most = parameters.get(largest, 0)
    paths = package.path_literals()
    spelled = max(paths, key=lambda path: len(paths[path]), default="-")
    places = len(paths.get(spelled, ()))
    return [
        Measure("files side by side, most", "41", f"{files} ({folder})", "12", files > 12),
        Measure("import circles", "2", str(len(circles)), "0", bool(circles)),
        Measure("imports against the order of the rooms", "-", str(len(against)), "0", bool(against)),
        Measure(
            "imports inside functions, of our own modules", "85", str(len(deferred)), "<= 45", len(deferred) > 45
        ),
        Measure("most constructor parameters", "11", f"{most} ({largest})", "6", most > 6),
        Measure(
            "modules of the emulator with the same API path, most", "2", f"{places} ({spelled})", "1", places > 1
        ),
        *READ_BY_A_PERSON,
    ]


READ_BY_A_PERSON = [
    Measure("nested retry loops *", "4", "1 (api/paging.py)", "1"),
    Measure("files to touch for a new element rule *", "5-9", "5-9", "4-6"),
    Measure("files to touch for a new endpoint *", "26", "15", "17"),
]
"""Measures that no script can take: a person counts them and writes the number here."""


def main(arguments: list[str] | None = None) -> int:
    """Print the table and what exceeds a target; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m devtools.house", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=PACKAGE, help="the package's folder")
    package = Package(parser.parse_args(arguments).folder.resolve())
    table = measures(package, _public_names(package.folder.parent / "docs" / "reference"))
    _print_table(table)
    for circle in package.circles():
        print(f"circle: {' <-> '.join(circle)}")
    for sentence in package.against_the_order():
        print(sentence)
    exceeded = [measure.name for measure in table if measure.exceeded]
    if exceeded:
        print(f"\nAbove the target: {', '.join(exceeded)}", file=sys.stderr)
    return 1 if exceeded else 0


def _print_table(table: list[Measure]) -> None:
    print("| measured | at the start | now | target |")
    print("|---|---|---|---|")
    for measure in table:
        print(f"| {measure.name} | {measure.start} | {measure.now} | {measure.target} |")
    print("\n* counted by reading the code, not by this script\n")


def _public_names(folder: Path) -> frozenset[str]:
    text = "\n".join(page.read_text(encoding="utf-8") for page in sorted(folder.glob("*.rst")))
    return frozenset(re.findall(r"autoclass:: \w+?\.([\w.]+)", text))


def _module_name(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _import_nodes(tree: ast.Module) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool, bool]]:
    """Yield each import, whether it stands in a function, and whether it serves type checkers only."""
    open_nodes: list[tuple[ast.AST, bool, bool]] = [(tree, False, False)]
    while open_nodes:
        node, in_function, types_only = open_nodes.pop()
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node, in_function, types_only
        in_function |= isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        types_only |= isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
        open_nodes += [(child, in_function, types_only) for child in ast.iter_child_nodes(node)]


def _reachable(start: str, graph: dict[str, set[str]]) -> set[str]:
    reached: set[str] = set()
    open_modules = list(graph[start])
    while open_modules:
        module = open_modules.pop()
        if module not in reached:
            reached.add(module)
            open_modules += graph.get(module, ())
    return reached


def _is_in(module: str, room: str) -> bool:
    return module == room or module.startswith(f"{room}.")


def _level(module: str) -> int | None:
    """Return the index in ``ORDER`` of the line that a module belongs to, or None if it has no line."""
    fitting = [(len(room), level) for level, rooms in enumerate(ORDER) for room in rooms if _is_in(module, room)]
    return max(fitting)[1] if fitting else None


def _own_objection(found: Import) -> str | None:
    inside = [_is_in(module, APART) for module in (found.importer, found.imported)]
    if inside == [False, True]:
        return "nothing else imports the emulator"
    if inside == [True, False]:
        return "the emulator imports nothing of the rest"
    importer, imported = _level(found.importer), _level(found.imported)
    if importer is not None and imported is not None and importer < imported:
        return "this room is higher" + (" (for types only)" if found.types_only else "")
    return None


def _airflow_objection(found: Import) -> str | None:
    if not _is_in(found.imported, "airflow"):
        return None
    if any(_is_in(found.importer, room) for room in WITHOUT_AIRFLOW):
        return "this room is without Airflow"
    if found.importer in LAZY_AIRFLOW and not found.in_function and not found.types_only:
        return "this module imports Airflow inside functions only"
    return None


def _is_exempt(node: ast.ClassDef) -> bool:
    if any("frozen=True" in ast.unparse(decorator) for decorator in node.decorator_list):
        return True
    bases = [ast.unparse(base).rpartition(".")[2] for base in node.bases]
    return any(name.endswith(PUBLIC_BASES) for name in (node.name, *bases))


def _parameters(node: ast.ClassDef) -> int:
    for statement in node.body:
        if isinstance(statement, ast.FunctionDef) and statement.name == "__init__":
            arguments = statement.args
            return len([*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]) - 1
    if any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list):
        fields = [statement for statement in node.body if isinstance(statement, ast.AnnAssign)]
        return len([field for field in fields if not _is_no_parameter(field)])
    return 0


def _is_no_parameter(field: ast.AnnAssign) -> bool:
    value = ast.unparse(field.value) if field.value else ""
    return "ClassVar" in ast.unparse(field.annotation) or "init=False" in value


if __name__ == "__main__":
    sys.exit(main())
