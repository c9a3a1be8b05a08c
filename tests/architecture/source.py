"""The project's own files, parsed once for the checks of the house rules."""

import ast
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """One Python file, read and parsed."""

    #: From the root of the repository, with slashes: ``service/flow/batch.py``.
    path: str
    text: str
    tree: ast.Module

    @property
    def name(self) -> str:
        """The dotted name under which it is imported."""
        return self.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    def functions(self) -> Iterator[Function]:
        """Yield every function and method, nested ones too."""
        for node in ast.walk(self.tree):
            if isinstance(node, Function):
                yield node

    def imports(self) -> Iterator[str]:
        """Yield the dotted names of the modules that it imports, in functions too."""
        for node in ast.walk(self.tree):
            match node:
                case ast.Import(names=names):
                    yield from (alias.name for alias in names)
                case ast.ImportFrom(module=str(module), level=0):
                    yield module


@cache
def modules(folder: str) -> tuple[Module, ...]:
    """Return the modules under ``service`` or ``tests``."""
    return tuple(_read(path) for path in sorted((REPOSITORY / folder).rglob("*.py")))


def _read(path: Path) -> Module:
    text = path.read_text(encoding="utf-8")
    return Module(path=path.relative_to(REPOSITORY).as_posix(), text=text, tree=ast.parse(text))


@cache
def project_files() -> tuple[Path, ...]:
    """Return the files that belong to the repository, also those not added yet."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
    )
    names = listed.stdout.decode().split("\0")
    return tuple(path for name in names if name and (path := REPOSITORY / name).is_file())
