"""The house: sizes, packages that only say what they are, layers, words, and docstrings."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src/tilltal"
MODULES = sorted(SOURCE.rglob("*.py"))
LONGEST = 400  # lines of a module

Documented = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_the_source_is_found() -> None:
    assert len(MODULES) > 100


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_is_small_enough_to_be_read(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST


@pytest.mark.parametrize("path", [path for path in MODULES if path.name == "__init__.py"], ids=name_of)
def test_a_package_says_what_it_is_and_holds_no_code(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree), "no docstring"
    assert len(tree.body) == 1, "code in a package"


def test_every_folder_of_modules_is_a_package() -> None:
    folders = {path.parent for path in MODULES}
    assert {folder for folder in folders if not (folder / "__init__.py").exists()} == set()


def test_no_module_is_a_drawer() -> None:
    drawers = re.compile(r"^(utils?|helpers?|misc|common)(\.py)?$")
    assert [name_of(path) for path in SOURCE.rglob("*") if drawers.match(path.name)] == []


def test_dependencies_point_down() -> None:
    """The contracts of import-linter in pyproject.toml."""
    command = [
        sys.executable,
        "-c",
        "from importlinter.cli import lint_imports_command; lint_imports_command()",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


# What is not finished, and what speaks of the place where it was written instead of the product.
UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|HACK|NotImplementedError|for now)\b")
FOREIGN = re.compile(
    r"/(?:root|home|work|tmp|mnt|Users)/\w|(?<![\w&])#\d+\b|\b(?:issue|PR|ticket) \d+", re.IGNORECASE
)
TEXTS = sorted(
    path
    for folder in ("src", "docs")
    for path in (ROOT / folder).rglob("*")
    if path.suffix in (".py", ".md", ".yaml", ".jinja", ".html")
)


@pytest.mark.parametrize("path", TEXTS, ids=name_of)
def test_a_text_is_finished_and_speaks_of_the_product(path: Path) -> None:
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        assert not UNFINISHED.search(line), f"line {number}: {line}"
        assert not FOREIGN.search(line), f"line {number}: {line}"


def public(tree: ast.AST, prefix: str = "") -> Iterator[tuple[str, Documented]]:
    """Classes, functions and methods whose names do not begin with an underscore, nested classes included."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, Documented) and not node.name.startswith("_"):
            yield prefix + node.name, node
            if isinstance(node, ast.ClassDef):
                yield from public(node, f"{prefix}{node.name}.")


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_everything_public_says_what_it_does(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree), "the module says nothing"
    assert [name for name, node in public(tree) if not ast.get_docstring(node)] == []


@pytest.mark.parametrize("package", ["rules", "customers", "models", "decisions"])
def test_deciding_has_no_clock_and_no_dice_of_its_own(package: str) -> None:
    own = re.compile(
        r"datetime\.(now|utcnow|today)\(|date\.today\(|time\.(time|perf_counter)\(|"
        r"np\.random\.(seed|rand|randn|randint|choice|shuffle|permutation)\(|^import random|\bopen\("
    )
    found = [
        f"{name_of(path)}:{number}"
        for path in (SOURCE / package).rglob("*.py")
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if own.search(line)
    ]
    assert found == []
