"""The vendor's own Python SDK works against the emulator; only its endpoint is changed."""

import asyncio
from pathlib import Path

import pytest
from huaweicloudsdkcore.exceptions.exceptions import (
    ClientRequestException,
    ConnectionException,
    ServerResponseException,
)
from huaweicloudsdkdataartsstudio import v1 as sdk

from tests.emulator.vendor_caller import KEY, WORKSPACE
from tests.support.emulator import EmulatorProcess
from tests.support.vendor_sdk import (
    SdkObject,
    body,
    create,
    failure,
    sdk_client_of,
    use_all_seven,
)


@pytest.fixture
def sdk_client(own_emulator: EmulatorProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SdkObject:
    """The SDK's client, with the emulator as its endpoint."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return sdk_client_of(own_emulator.url, KEY)


async def test_all_seven_operations(own_emulator: EmulatorProcess, sdk_client: SdkObject) -> None:
    """The emulator answers each as the vendor does."""
    await use_all_seven(sdk_client, own_emulator)


async def test_the_users_and_roles_of_a_workspace(sdk_client: SdkObject) -> None:
    """The SDK reads who may approve: the roles and the users that have them."""
    users = await asyncio.to_thread(
        sdk_client.list_workspaceusers, sdk.ListWorkspaceusersRequest(workspace_id=WORKSPACE)
    )
    roles = await asyncio.to_thread(
        sdk_client.list_workspace_roles, sdk.ListWorkspaceRolesRequest(workspace_id=WORKSPACE)
    )

    assert users.count == 5
    assert {user.roles[0].role_id for user in users.data} == {role.role_id for role in roles.body}
    assert "Deployer" in {role.role_name for role in roles.body}


async def test_an_error_of_the_service_is_read_by_the_sdk(sdk_client: SdkObject) -> None:
    """A refused create is a ClientRequestException with the vendor's code, text and request id."""
    await asyncio.to_thread(create, sdk_client, "26")
    error = await asyncio.to_thread(failure, ClientRequestException, lambda: create(sdk_client, "26"))

    assert (error.status_code, error.error_code) == (400, "DLF.3051")
    assert error.error_msg == "The request parameter is invalid."
    assert len(error.request_id) == 32


async def test_an_error_of_the_gateway_is_read_by_the_sdk(sdk_client: SdkObject) -> None:
    """A call without the workspace header, as in the vendor's sample, is refused with APIGW.0106."""
    request = sdk.CreateFactoryPendingItemsPackageRequest(body=body("26"))
    error = await asyncio.to_thread(
        failure, ClientRequestException, lambda: sdk_client.create_factory_pending_items_package(request)
    )

    assert (error.status_code, error.error_code) == (400, "APIGW.0106")
    assert "workspace" in error.error_msg


@pytest.mark.parametrize(
    ("fault", "kind", "expected"),
    [
        ("429", ClientRequestException, (429, "APIGW.0308")),
        ("502_after", ServerResponseException, (502, "APIGW.0202")),
        ("503_before", ServerResponseException, (503, "APIGW.0613")),
        ("signature_refused", ClientRequestException, (401, "APIGW.0301")),
    ],
)
async def test_a_fault_is_read_by_the_sdk(
    own_emulator: EmulatorProcess,
    sdk_client: SdkObject,
    fault: str,
    kind: type[Exception],
    expected: tuple[int, str],
) -> None:
    """Injected errors of the gateway have the form that the SDK takes apart."""
    await own_emulator.put_faults({"rules": [{"fault": fault}]})
    error = await asyncio.to_thread(failure, kind, lambda: create(sdk_client, "26"))

    assert expected == (error.status_code, error.error_code)
    assert len(error.request_id) == 32


async def test_a_dropped_connection_is_an_error_of_the_connection(
    own_emulator: EmulatorProcess,
    sdk_client: SdkObject,
) -> None:
    """The SDK calls a connection that closed without an answer what it is."""
    await own_emulator.put_faults({"rules": [{"fault": "drop_after"}]})
    await asyncio.to_thread(failure, ConnectionException, lambda: create(sdk_client, "26"))

    assert [package["package_id"] for package in await own_emulator.packages()] == ["1"]
