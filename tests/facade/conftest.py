from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from service.commands.keys import create_access_key, create_key
from service.core.key_orders import KeyOrder
from service.core.signing import AccessKey
from tests.support.access_keys import SEALING_KEY, SECRET_KEY
from tests.support.emulator import UNLIMITED
from tests.support.stack import Stack, running_stack
from tests.support.vendor_sdk import SdkObject, sdk_client_of

StackWith = Callable[..., AbstractAsyncContextManager[Stack]]


@pytest.fixture(autouse=True)
def sdk_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK writes into the home directory, and would ask a proxy for our own address."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def stack_with(database_url: str, redis_url: str, tmp_path: Path) -> StackWith:
    """A stack that asks for keys, with these faults of the emulator and these settings; no process runs yet."""

    @asynccontextmanager
    async def lend(faults: dict[str, object] | None = None, **settings: str) -> AsyncIterator[Stack]:
        async with running_stack(
            database_url=database_url,
            redis_url=redis_url,
            directory=tmp_path,
            faults={**UNLIMITED, **(faults or {})},
            **{"RELEASE_AUTH": "keys", "RELEASE_SECRET_KEY": SECRET_KEY, **settings},
        ) as stack:
            yield stack

    return lend


@pytest.fixture
async def stack(stack_with: StackWith) -> AsyncIterator[Stack]:
    """A stack that asks for keys, with one HTTP process and one worker."""
    async with stack_with() as stack:
        await stack.start_api()
        await stack.start_worker()
        yield stack


@pytest.fixture
async def access_key(database_url: str) -> AccessKey:
    """An access key for everything."""
    order = KeyOrder(name="sdk", scopes=["read", "submit", "operate"], workspaces=["*"])
    return (await create_access_key(database_url, order, sealing_key=SEALING_KEY)).pair


@pytest.fixture
async def api_token(database_url: str) -> str:
    """An API key for everything."""
    scopes = ["read", "submit", "operate"]
    return (await create_key(database_url, name="token", scopes=scopes, workspaces=["*"])).api_key


@pytest.fixture
def client(stack: Stack, access_key: AccessKey) -> SdkObject:
    """The SDK's client, with the service as its endpoint."""
    return sdk_client_of(stack.url, access_key)
