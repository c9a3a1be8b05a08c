"""The vendor's own Python SDK: its client at an address of ours, and its seven calls."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkdataartsstudio import v1 as sdk

from service.core.signing import AccessKey
from tests.emulator.vendor_caller import PROJECT, WORKSPACE
from tests.support.emulator import EmulatorProcess

#: The SDK publishes no types.
SdkObject = Any

APPLICANT = "f8ccc2ff3c7748e8a7bfede38ae1cffa"
APPROVER = "7b71e498e75d44048c9a22dd3c54f978"


def sdk_client_of(url: str, key: AccessKey) -> SdkObject:
    """Build the SDK's client as its documentation does; only the endpoint is ours."""
    credentials = BasicCredentials(key.access_key, key.secret_key, PROJECT)
    return sdk.DataArtsStudioClient.new_builder().with_credentials(credentials).with_endpoint(url).build()


def body(item: str) -> SdkObject:
    """Return the body of a create call."""
    return sdk.CreateFactoryPendingItemsPackageBody(
        apply_user_id=APPLICANT,
        package_name=f"package_{item}",
        pending_item_list=[item],
        approver_ids=[APPROVER],
    )


def create(client: SdkObject, item: str) -> SdkObject:
    """Make a package."""
    request = sdk.CreateFactoryPendingItemsPackageRequest(workspace=WORKSPACE, body=body(item))
    return client.create_factory_pending_items_package(request)


def list_items(client: SdkObject) -> SdkObject:
    """List the pending items."""
    return client.list_factory_pending_items(sdk.ListFactoryPendingItemsRequest(workspace=WORKSPACE))


def list_packages(client: SdkObject) -> SdkObject:
    """List the packages."""
    wanted = sdk.ListReleasePackagesRequestBody(key_word="package_", limit=10, offset=0)
    request = sdk.ListFactoryReleasePackagesRequest(workspace=WORKSPACE, body=wanted)
    return client.list_factory_release_packages(request)


def show(client: SdkObject, package_id: str) -> SdkObject:
    """Show a package."""
    request = sdk.ShowFactoryPackageDetailRequest(workspace=WORKSPACE, package_id=package_id)
    return client.show_factory_package_detail(request)


def deploy(client: SdkObject, package_id: str) -> SdkObject:
    """Approve a package."""
    wanted = sdk.DeployFactoryPackagesRequestBody(package_ids=[package_id])
    request = sdk.DeployFactoryPackagesRequest(workspace=WORKSPACE, body=wanted)
    return client.deploy_factory_packages(request)


def unpack(client: SdkObject, package_id: str) -> SdkObject:
    """Revoke a package."""
    wanted = sdk.CancelFactoryPackagesRequestBody(package_ids=[package_id])
    request = sdk.CancelFactoryPackagesRequest(workspace=WORKSPACE, body=wanted)
    return client.cancel_factory_packages(request)


def list_approvals(client: SdkObject) -> SdkObject:
    """List the submissions."""
    return client.list_factory_workspaces_approval(
        sdk.ListFactoryWorkspacesApprovalRequest(workspace=WORKSPACE)
    )


def failure(kind: type[Exception], call: Callable[[], object]) -> SdkObject:
    """Make a call that must fail, and return the SDK's exception."""
    with pytest.raises(kind) as caught:
        call()
    return caught.value


async def use_all_seven(client: SdkObject, emulator: EmulatorProcess) -> None:
    """Have two items listed and packaged; a package found, shown, deployed; another revoked."""
    await emulator.register_items(WORKSPACE, [{"pending_item_id": "26"}, {"pending_item_id": "27"}])
    before = await asyncio.to_thread(list_items, client)
    created = await asyncio.to_thread(create, client, "26")
    other = await asyncio.to_thread(create, client, "27")
    after = await asyncio.to_thread(list_items, client)
    found = await asyncio.to_thread(list_packages, client)
    shown = await asyncio.to_thread(show, client, created.release_package_id)
    deployed = await asyncio.to_thread(deploy, client, created.release_package_id)
    await asyncio.to_thread(unpack, client, other.release_package_id)
    unpacked = await asyncio.to_thread(show, client, other.release_package_id)
    approvals = await asyncio.to_thread(list_approvals, client)

    assert [(item.pending_item_id, item.package_flag) for item in before.data] == [("26", 0), ("27", 0)]
    assert (created.package_name, created.release_package_id) == ("package_26", "1")
    assert [(item.pending_item_id, item.package_flag) for item in after.data] == [("26", 1), ("27", 1)]
    assert [package.package_id for package in found.data] == ["2", "1"]
    assert found.x_request_id
    assert shown.release_package.deploy_status == 1
    assert len(str(shown.release_package.apply_timestamp)) == 13
    assert [task.pending_item_id for task in shown.task_details] == ["26"]
    assert [detail.package_id for detail in deployed.deploy_package_details] == [1]
    assert unpacked.release_package.delete_flag == 1
    assert [each.apply_id.removeprefix("apply-") for each in approvals.job_apply_search_list] == ["26", "27"]
