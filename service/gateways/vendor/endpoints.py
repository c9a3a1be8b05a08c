"""Where the vendor's API is: base URLs of a region and the paths of the release calls.

Source: DataArts Studio API reference, "Endpoints" and "Data Development APIs (V2)". The EU site has another
domain and needs its base URL given.
"""

from urllib.parse import quote

#: What may stand in the place of a package's id.
_ACTIONS = frozenset({"deploy", "unpack"})


def base_url_of(region: str) -> str:
    """Return the base URL of DataArts Studio in a region."""
    return f"https://dayu.{region}.myhuaweicloud.com"


def iam_url_of(region: str) -> str:
    """Return the base URL of IAM in a region; its tokens work in that region only."""
    return f"https://iam.{region}.myhuaweicloud.com"


def pending_items_path(project_id: str) -> str:
    """Return the path that lists pending items."""
    return f"/v2/{_segment(project_id)}/factory/pending-items"


def create_package_path(project_id: str) -> str:
    """Return the path that makes a release package of pending items."""
    return f"{pending_items_path(project_id)}/package"


def release_packages_path(project_id: str) -> str:
    """Return the path that lists release packages."""
    return f"/v2/{_segment(project_id)}/factory/release-packages"


def release_package_path(project_id: str, package_id: str) -> str:
    """Return the path of one release package."""
    return f"{release_packages_path(project_id)}/{_segment(package_id)}"


def deploy_path(project_id: str) -> str:
    """Return the path that deploys release packages."""
    return f"{release_packages_path(project_id)}/deploy"


def unpack_path(project_id: str) -> str:
    """Return the path that ends release packages."""
    return f"{release_packages_path(project_id)}/unpack"


def approvals_path(project_id: str) -> str:
    """Return the path that lists submissions and their approval."""
    return f"/v2/{_segment(project_id)}/factory/workspaces/approval"


def template_of(path: str) -> str:
    """Return a path of these with names in the places of its ids, as metrics and traces count by it."""
    match path.split("/"):
        case ["", version, _, factory, "release-packages", last] if last not in _ACTIONS:
            return f"/{version}/{{project_id}}/{factory}/release-packages/{{package_id}}"
        case ["", version, _, *rest]:
            return "/".join(["", version, "{project_id}", *rest])
        case _:
            return path


def _segment(text: str) -> str:
    return quote(text, safe="~")
