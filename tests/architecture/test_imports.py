"""Who may use what: the ranks that are finer than the layers of import-linter."""

import ast
import subprocess
import sys

import pytest

from tests.architecture.source import REPOSITORY, Module, modules

STORE = "service/gateways/store/"
ALLOWED = {
    "asyncpg": (
        STORE,
        "service/gateways/migrate.py",
        "service/gateways/migration_files.py",
        "service/deps.py",
    ),
    "redis": (
        "service/deps.py",
        "service/worker.py",
        "service/gateways/queue.py",
        "service/gateways/queue_worker.py",
        "service/gateways/doorbells.py",
        "service/gateways/doorbell_worker.py",
        "service/gateways/access.py",
        "service/gateways/backlog.py",
        "service/gateways/permits.py",
        "service/gateways/limiter_birth.py",
        "service/gateways/limiter_view.py",
        "service/gateways/scripts.py",
        "service/gateways/servers.py",
        "service/doors/queue.py",
        "service/client/",
    ),
    "aiohttp": (
        "service/app.py",
        "service/worker.py",
        "service/doors/",
        "service/gateways/vendor/",
        "service/client/transport.py",
        "service/commands/",
        "service/emulator/",
    ),
    "opentelemetry": ("service/gateways/otlp.py",),
    "click": ("service/cli.py", "service/commands/"),
    "prometheus_client": ("service/gateways/metrics/",),
}
ALLOWED["arq"] = ALLOWED["redis"]
#: What turns bytes of strangers into running code.
EXECUTING = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "jsonpickle", "yaml", "joblib"}
ENVIRONMENT_READERS = ("service/commands/", "service/cli.py", "service/core/config.py", "service/embedded/")
#: Names that only the vendor's answers and lists have; the names of its create call are the contract's too.
VENDORS_OWN = {
    "deploy_status",
    "deploy_user_id",
    "key_word",
    "package_approvers",
    "package_flag",
    "submit_user_id",
    "submit_user_name",
    "task_type",
    "update_type",
}
VENDOR_SPEAKERS = ("service/gateways/vendor/", "service/emulator/", "service/doors/facade")


def is_in(module: Module, places: tuple[str, ...]) -> bool:
    return module.path.startswith(places)


@pytest.mark.parametrize("library", ALLOWED)
def test_a_library_is_used_where_its_gateway_is(library: str) -> None:
    """Each library has its few places; elsewhere its types and exceptions are unknown."""
    users = [
        module.path
        for module in modules("service")
        if any(name.partition(".")[0] == library for name in module.imports())
    ]

    assert users
    assert [path for path in users if not path.startswith(ALLOWED[library])] == []


def test_nothing_that_runs_strangers_bytes_is_imported() -> None:
    """Messages are JSON: no pickle and nothing like it."""
    guilty = [
        (module.path, name)
        for module in modules("service")
        for name in module.imports()
        if name.partition(".")[0] in EXECUTING
    ]

    assert guilty == []


def test_no_text_is_run_as_code() -> None:
    """Neither eval nor exec nor a shell."""
    guilty = [
        (module.path, node.lineno)
        for module in modules("service")
        for node in ast.walk(module.tree)
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in {"eval", "exec"}
        )
        or (isinstance(node, ast.keyword) and node.arg == "shell")
        or (isinstance(node, ast.Attribute) and node.attr in {"system", "create_subprocess_shell"})
    ]

    assert guilty == []


def test_the_environment_is_read_at_the_start_only() -> None:
    """What a process is told by its environment, it is told through Settings."""
    guilty = [
        (module.path, node.lineno)
        for module in modules("service")
        if not is_in(module, ENVIRONMENT_READERS) and module.path != "service/emulator/__main__.py"
        for node in ast.walk(module.tree)
        if (isinstance(node, ast.Attribute) and node.attr in {"environ", "environb", "getenv"})
        or (isinstance(node, ast.alias) and node.name in {"environ", "environb", "getenv"})
    ]

    assert guilty == []


def test_only_the_vendors_gateway_speaks_the_vendors_language() -> None:
    """Names of the vendor's answers stay where its answers are read, and in the emulator, which writes them."""
    guilty = [
        (module.path, node.lineno, node.value)
        for module in modules("service")
        if not is_in(module, VENDOR_SPEAKERS)
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Constant) and node.value in VENDORS_OWN
    ]

    assert guilty == []


def test_sql_is_in_the_store_alone() -> None:
    """A statement is found where all statements are."""
    verbs = ("SELECT ", "INSERT INTO ", "UPDATE ", "DELETE FROM ", "WITH ")
    guilty = [
        (module.path, node.lineno)
        for module in modules("service")
        if not is_in(module, (STORE, "service/gateways/migrate.py"))
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and node.value.lstrip().startswith(verbs)
    ]

    assert guilty == []


@pytest.mark.parametrize(
    ("name", "not_needed"),
    [
        ("QueueProducer", {"asyncpg", "aiohttp", "structlog", "click"}),
        ("ReleaseClient", {"asyncpg", "arq", "redis", "structlog", "click"}),
        ("SyncReleaseClient", {"asyncpg", "arq", "redis", "structlog", "click"}),
        ("ReleaseRequest", {"asyncpg", "arq", "redis", "structlog", "click", "aiohttp"}),
    ],
)
def test_the_client_works_without_the_rest(name: str, not_needed: set[str]) -> None:
    """Importing a part of it brings in the core alone: no server, and none of the libraries of one."""
    program = f"import sys; from service.client import {name}; print(*sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    loaded = set(run.stdout.split())
    ours = {name for name in loaded if name.startswith("service.")}

    assert {name for name in ours if not name.startswith(("service.client", "service.core"))} == set()
    assert not loaded & not_needed


#: Runs in a process of its own: imports a module and reports everything that it did beyond being imported.
WATCH = """
import importlib, logging, os, signal, sys, threading

WATCHED = (
    "ftplib.", "os.chmod", "os.chown", "os.exec", "os.fork", "os.kill", "os.link", "os.mkdir", "os.posix_spawn",
    "os.putenv", "os.remove", "os.rename", "os.rmdir", "os.symlink", "os.system", "os.truncate", "os.unsetenv",
    "shutil.", "signal.", "smtplib.", "socket.", "sqlite3.", "subprocess.", "tempfile.", "urllib.",
)
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
done, watching = [], False

def watch(event, arguments):
    if not watching:
        return
    if event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITING:
        done.append(f"{event} {arguments[0]!r}")
    elif event.startswith(WATCHED):
        done.append(f"{event} {arguments!r}")

libraries, ours = sys.argv[1].split(","), sys.argv[2].split(",")
for name in libraries:
    importlib.import_module(name)
handlers = {number: signal.getsignal(number) for number in signal.valid_signals()}
environment, path, log_handlers = dict(os.environ), list(sys.path), list(logging.getLogger().handlers)
threads = threading.enumerate()
sys.addaudithook(watch)
watching = True
for name in ours:
    importlib.import_module(name)
watching = False
changed = {
    "signals": handlers != {number: signal.getsignal(number) for number in signal.valid_signals()},
    "environment": environment != dict(os.environ),
    "path": path != sys.path,
    "log": log_handlers != logging.getLogger().handlers,
    "threads": threads != threading.enumerate(),
}
for problem in [*done, *(name for name, is_changed in changed.items() if is_changed)]:
    print(problem)
"""


def watched_import(*names: str) -> subprocess.CompletedProcess[str]:
    libraries = sorted(
        {
            name
            for module in modules("service")
            for name in module.imports()
            if not name.startswith("service") and name != "__future__"
        }
    )
    return subprocess.run(
        [sys.executable, "-B", "-c", WATCH, ",".join(libraries), ",".join(names)],
        cwd=REPOSITORY,
        env={},
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_importing_does_nothing() -> None:
    """Every module can be imported without an environment; none opens, writes, starts or changes anything."""
    run = watched_import(*(module.name for module in modules("service")))

    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


def test_an_effect_of_an_import_is_found() -> None:
    """The watch of the test above does see what a module does."""
    run = watched_import("tests.architecture.effect")

    assert run.returncode == 0
    assert "open " in run.stdout
    assert "socket." in run.stdout
    assert "threads" in run.stdout
