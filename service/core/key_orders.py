"""What a new key shall be called, and what it may do."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from service.core.identifiers import is_identifier

_MAX_NAME = 100
_WORKSPACE_PATTERN = re.compile(r"\*|[A-Za-z0-9_.:*-]{1,64}/[A-Za-z0-9_.:*-]{1,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyOrder:
    """What a new key shall be."""

    name: str
    scopes: Sequence[str]
    workspaces: Sequence[str]
    #: Empty where it may apply for anybody.
    apply_user_ids: Sequence[str] = ()
    expires_in: timedelta | None = None
    is_access_key: bool = False
    #: An order with an id makes one key, however often it comes.
    key_id: UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BadOrder:
    """What is wrong with an order: of which member, what was expected and what was given."""

    member: str
    expected: str
    given: str


def flaw_of(order: KeyOrder) -> BadOrder | None:
    """Return the first thing that is wrong with an order."""
    if not (1 <= len(order.name) <= _MAX_NAME and order.name.isprintable()):
        expected = f"1 to {_MAX_NAME} printable characters"
        return BadOrder(member="name", expected=expected, given=order.name[:_MAX_NAME])
    for member, given in (("scopes", order.scopes), ("workspaces", order.workspaces)):
        if not given:
            return BadOrder(member=member, expected="at least one", given="")
    for pattern in order.workspaces:
        # A pattern without a project would match nothing, and say nothing.
        if _WORKSPACE_PATTERN.fullmatch(pattern) is None:
            expected = "PROJECT/WORKSPACE, where * stands for any text"
            return BadOrder(member="workspaces", expected=expected, given=pattern)
    for user_id in order.apply_user_ids:
        if not is_identifier(user_id):
            expected = "1 to 64 of the characters A-Za-z0-9_.:-"
            return BadOrder(member="apply_user_ids", expected=expected, given=user_id)
    return None
