"""Finds the workspace that is meant: ``PROJECT/WORKSPACE``, or ``WORKSPACE`` where the project is known."""

import os

from service.client.release_client import ReleaseClient
from service.core.errors import ConfigurationError
from service.core.place import Place
from service.core.sources import read_setting

_PROJECT_VARIABLES = ("RELEASE_PROJECT_ID", "HUAWEICLOUD_SDK_PROJECT_ID")


async def place_of(client: ReleaseClient, name: str) -> str:
    """Return the full name: with the project of the environment, else with the one that the service knows it in.

    Raises:
        ConfigurationError: it is no name, or it cannot be told which project is meant.
        ReleaseError: the service does not say.
    """
    if "/" in name:
        return _checked(name)
    project = next(
        filter(None, (read_setting(variable, os.environ) for variable in _PROJECT_VARIABLES)), None
    )
    if project is not None:
        return _checked(f"{project}/{name}")
    _checked(f"p/{name}")
    found = [
        f"{one.project_id}/{one.workspace}" async for one in client.workspaces() if one.workspace == name
    ]
    if len(found) != 1:
        known = (
            f"there are {' and '.join(found)}" if found else "no workspace of this name has had requests yet"
        )
        raise ConfigurationError(f"WS: expected PROJECT/WORKSPACE, or RELEASE_PROJECT_ID to be set; {known}")
    return found[0]


def _checked(name: str) -> str:
    if Place.read(*name.split("/")) is None:
        raise ConfigurationError(f"WS: expected PROJECT/WORKSPACE or WORKSPACE; given {name!r}")
    return name
