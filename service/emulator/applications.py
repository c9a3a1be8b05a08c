"""What a create call asks for, and whether the service accepts it (CreateFactoryPendingItemsPackage)."""

from collections.abc import Mapping
from dataclasses import dataclass

from service.emulator.book import Book, Place
from service.emulator.faults import Faults
from service.emulator.people import may_approve

#: "You can release a maximum of 100 tasks at a time" (user guide, "Releasing a Job Task").
MAX_ITEMS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    """A well-formed application for a release."""

    apply_user_id: str
    package_name: str
    items: tuple[str, ...]
    approver_ids: tuple[str, ...]


def read_application(members: Mapping[str, object]) -> Application | None:
    """Read the body of a create call; None where a member is missing, empty or of the wrong type."""
    apply_user_id = read_text(members.get("apply_user_id"))
    package_name = read_text(members.get("package_name"))
    items = read_texts(members.get("pending_item_list"))
    approver_ids = read_texts(members.get("approver_ids"))
    if not (apply_user_id and package_name and items and approver_ids):
        return None
    return Application(
        apply_user_id=apply_user_id, package_name=package_name, items=items, approver_ids=approver_ids
    )


def read_text(value: object) -> str:
    """Read a text; empty where it is none."""
    return value if isinstance(value, str) else ""


def read_texts(value: object) -> tuple[str, ...]:
    """Read a list of texts; empty where it is none, or where an entry is empty or no text."""
    if not isinstance(value, list):
        return ()
    texts = tuple(entry for entry in value if isinstance(entry, str) and entry)
    return texts if len(texts) == len(value) else ()


def is_acceptable(application: Application, book: Book, *, place: Place) -> bool:
    """Tell whether the vendor takes the application: its items, then its approvers."""
    faults = book.plan.faults
    return (
        _are_countable(application.items)
        and _are_known(application.items, book, place=place)
        and not frozenset(application.items).intersection(faults.poisoned_items)
        and _are_free(application.items, book, place=place)
        and all(may_approve(approver) for approver in application.approver_ids)
        and application.apply_user_id not in application.approver_ids
    )


def is_known_workspace(place: Place, book: Book, *, faults: Faults) -> bool:
    """Tell whether a workspace exists; with ``listed`` items, it does once it has had an item."""
    return faults.items == "any" or place in book.items


def _are_countable(items: tuple[str, ...]) -> bool:
    return len(items) <= MAX_ITEMS and len(set(items)) == len(items)


def _are_known(items: tuple[str, ...], book: Book, *, place: Place) -> bool:
    if book.plan.faults.items == "any":
        return True
    registered = book.items.get(place, {})
    return all(item in registered for item in items)


def _are_free(items: tuple[str, ...], book: Book, *, place: Place) -> bool:
    return book.plan.faults.already_packaged == "lax" or not any(book.holders(place, item) for item in items)
