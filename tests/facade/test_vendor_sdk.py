"""The vendor's own Python SDK works against the service; only its endpoint is changed."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from huaweicloudsdkcore.exceptions.exceptions import ClientRequestException
from huaweicloudsdkdataartsstudio import v1 as sdk

from service.core.signing import AccessKey
from tests.support.emulator import UNLIMITED
from tests.support.sql import count_requests
from tests.support.stack import Stack
from tests.support.vendor_sdk import (
    SdkObject,
    body,
    create,
    failure,
    list_items,
    sdk_client_of,
    use_all_seven,
)


async def test_all_seven_operations(stack: Stack, client: SdkObject) -> None:
    """The façade answers each as the vendor does."""
    await use_all_seven(client, stack.emulator)


async def test_an_error_of_the_vendor_is_read_by_the_sdk(stack: Stack, client: SdkObject) -> None:
    """A create that the vendor refuses is a ClientRequestException with the vendor's code and words."""
    await stack.emulator.put_faults({**UNLIMITED, "poisoned_items": ["26"]})
    error = await asyncio.to_thread(failure, ClientRequestException, lambda: create(client, "26"))

    assert (error.status_code, error.error_code) == (400, "DLF.3051")
    assert error.error_msg == "The request parameter is invalid."
    assert error.request_id


async def test_an_error_of_ours_is_read_by_the_sdk(client: SdkObject) -> None:
    """A call without the workspace header, as in the vendor's sample, is refused in the words of its gateway."""
    request = sdk.CreateFactoryPendingItemsPackageRequest(body=body("26"))
    error = await asyncio.to_thread(
        failure, ClientRequestException, lambda: client.create_factory_pending_items_package(request)
    )

    assert (error.status_code, error.error_code) == (400, "APIGW.0106")
    assert "workspace" in error.error_msg
    assert error.request_id


async def test_a_wrong_secret_is_read_by_the_sdk(stack: Stack, access_key: AccessKey) -> None:
    """A signature with another secret is 401 APIGW.0301, and so is one of an unknown access key, in equal words."""
    wrong = sdk_client_of(stack.url, AccessKey(access_key=access_key.access_key, secret_key="x" * 43))
    unknown = sdk_client_of(stack.url, AccessKey(access_key="REL" + "0" * 17, secret_key="x" * 43))
    errors = [
        await asyncio.to_thread(failure, ClientRequestException, partial(list_items, client))
        for client in (wrong, unknown)
    ]

    assert [(error.status_code, error.error_code) for error in errors] == [(401, "APIGW.0301")] * 2
    assert errors[0].error_msg == errors[1].error_msg


async def test_twenty_threads_with_one_body_get_one_package(
    stack: Stack, client: SdkObject, database_url: str
) -> None:
    """SDK callers that hand in the same body at once get one release, one package, and all of them its id."""
    with ThreadPoolExecutor(max_workers=20) as threads:
        loop = asyncio.get_running_loop()
        calls = [loop.run_in_executor(threads, create, client, "26") for _ in range(20)]
        created = await asyncio.gather(*calls)
    packages = await stack.emulator.packages()

    assert {(each.package_name, each.release_package_id) for each in created} == {("package_26", "1")}
    assert [(package["package_id"], package["items"]) for package in packages] == [("1", ["26"])]
    assert len(await stack.emulator.calls()) == 1
    assert await count_requests(database_url) == 1
