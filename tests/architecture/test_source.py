"""House rules on the text of the code that ruff and mypy do not know."""

import ast
import re
from collections.abc import Iterator

import pytest

from service.core.telemetry import LogEvent
from tests.architecture.source import REPOSITORY, Function, Module, modules, project_files

MAX_LINES_OF_A_MODULE = 300
MAX_LINES_OF_A_FUNCTION = 50
MEDIAN_LINES_OF_FUNCTIONS = 10
LEVELS = {"debug", "info", "warning", "error", "exception", "critical"}
#: A server that answers slowly on purpose.
DRIPS = {("tests/gateways/vendor/test_in_doubt.py", "drip")}
#: Written apart, so that this file does not name what it looks for.
REGISTRIES = [
    ".".join(parts)
    for parts in (
        ("pypi", "org"),
        ("files", "pythonhosted"),
        ("npmjs", "com"),
        ("npmjs", "org"),
        ("deb", "debian"),
        ("archive", "ubuntu"),
        ("proxy", "golang"),
        ("crates", "io"),
        ("registry", "yarnpkg"),
    )
]
MACHINE_PATHS = re.compile(r"(?<![\w.*$}-])/(?:root|home|Users|work)/[A-Za-z.]")


def lines_of(node: Function) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def calls(module: Module) -> Iterator[ast.Call]:
    return (node for node in ast.walk(module.tree) if isinstance(node, ast.Call))


def test_modules_are_short() -> None:
    """A module has one idea, and 300 lines at most."""
    long = {
        module.path: count
        for module in modules("service")
        if (count := module.text.count("\n")) > MAX_LINES_OF_A_MODULE
    }

    assert long == {}


def test_functions_are_short() -> None:
    """No function has more than 50 lines, and half of them have 10 or fewer."""
    lengths = sorted(
        (lines_of(function), f"{module.path}:{function.lineno}")
        for module in modules("service")
        for function in module.functions()
    )

    assert [place for length, place in lengths if length > MAX_LINES_OF_A_FUNCTION] == []
    assert lengths[len(lengths) // 2][0] <= MEDIAN_LINES_OF_FUNCTIONS


def test_no_type_error_of_the_service_is_ignored() -> None:
    """The type checker has the last word."""
    mark = "type: " + "ignore"

    assert [module.path for module in modules("service") if mark in module.text] == []


def test_an_ignored_rule_has_a_reason_and_is_not_complexity() -> None:
    """Each noqa names its rule and says why; a function that is too complex is taken apart."""
    mark = "# no" + "qa"
    good = re.compile(mark + r": (?!C901|PLR09)[A-Z]+\d+(, ?[A-Z]+\d+)* - \S")
    guilty = [
        f"{module.path}:{number}"
        for module in (*modules("service"), *modules("tests"))
        for number, line in enumerate(module.text.splitlines(), start=1)
        if mark in line and not good.search(line)
    ]

    assert guilty == []


def test_statements_name_their_columns() -> None:
    """A column that a migration adds changes no answer: there is no SELECT * from a table."""
    every_column = re.compile(r"(?:SELECT|RETURNING)\s+(?:\w+\.)?\*(?!\s+FROM\s+unnest)", re.IGNORECASE)
    guilty = [
        (module.path, node.lineno)
        for module in modules("service")
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and every_column.search(node.value)
    ]

    assert guilty == []


def log_calls(module: Module) -> Iterator[ast.Call]:
    for call in calls(module):
        match call.func:
            case ast.Attribute(value=ast.Name(id="log"), attr=level) if level in LEVELS:
                yield call


def test_every_line_of_the_log_is_of_the_catalogue() -> None:
    """An event is a member of LogEvent, never a text."""
    guilty = [
        f"{module.path}:{call.lineno}"
        for module in modules("service")
        for call in log_calls(module)
        if not (
            call.args
            and isinstance(call.args[0], ast.Attribute)
            and ast.unparse(call.args[0]).startswith("LogEvent.")
        )
    ]

    assert guilty == []


def test_every_event_of_the_catalogue_is_used() -> None:
    """The catalogue lists what is written, not what once was."""
    used = {
        node.attr
        for module in modules("service")
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "LogEvent"
    }

    assert used == {event.name for event in LogEvent}


def test_every_test_states_its_promise() -> None:
    """Each test has a docstring: what must hold, in a sentence."""
    silent = [
        f"{module.path}:{function.name}"
        for module in modules("tests")
        for function in module.functions()
        if function.name.startswith("test_")
        and not (ast.get_docstring(function) or "").rstrip().endswith(".")
    ]

    assert silent == []


def sleeps(module: Module) -> Iterator[tuple[str, ast.Call]]:
    for function in module.functions():
        for node in ast.walk(function):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in {
                "asyncio.sleep",
                "time.sleep",
                "sleep",
            }:
                yield function.name, node


def has_reason(module: Module, call: ast.Call) -> bool:
    return "#" in module.text.splitlines()[call.lineno - 1]


def test_no_test_sleeps_a_guess() -> None:
    """Tests wait for a signal or poll with a deadline; a fixed sleep is there for a reason that its line states."""
    guilty = [
        f"{module.path}:{call.lineno}"
        for module in modules("tests")
        for name, call in sleeps(module)
        if isinstance(call.args[0], ast.Constant)
        and (module.path, name) not in DRIPS
        and not has_reason(module, call)
    ]
    blocking = [
        f"{module.path}:{call.lineno}"
        for module in modules("tests")
        for _, call in sleeps(module)
        if ast.unparse(call.func) == "time.sleep"
    ]

    assert (guilty, blocking) == ([], [])


@pytest.mark.parametrize("word", ["unittest.mock", "pytest_mock", "fakeredis", "testing.postgresql"])
def test_nothing_of_ours_is_mocked(word: str) -> None:
    """Tests run on the real thing."""
    guilty = [
        module.path
        for module in modules("tests")
        if any(name == word or name.startswith(f"{word}.") for name in module.imports())
    ]

    assert guilty == []


def texts() -> Iterator[tuple[str, str]]:
    for path in project_files():
        try:
            yield path.relative_to(REPOSITORY).as_posix(), path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue


def test_no_file_names_a_package_registry() -> None:
    """Where packages come from is the choice of whoever installs."""
    guilty = [(name, address) for name, text in texts() for address in REGISTRIES if address in text]

    assert guilty == []


def test_no_file_names_a_path_of_somebodys_machine() -> None:
    """What works here works elsewhere."""
    guilty = [(name, match.group()) for name, text in texts() if (match := MACHINE_PATHS.search(text))]

    assert guilty == []


def test_the_files_of_the_project_are_found() -> None:
    """The searches above do look at something."""
    names = {name for name, _ in texts()}

    assert {"README.md", "pyproject.toml", "service/app.py", "migrations/0001_release_requests.sql"} <= names
