"""Decides under which account PostgreSQL runs: it refuses to run as root.

An ordinary user runs it directly. Root runs it in a user namespace, where root's files belong to "nobody";
this needs no system user and changes no owner. Where namespaces are forbidden, root gives the data to
``nobody``.
"""

import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass

from service.core.errors import EmbeddedServerError

_NAMESPACE = ("--user", "--map-user=65534", "--map-group=65534", "--")


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """How to start a program so that it does not run as root."""

    #: Words before the program's own.
    prefix: tuple[str, ...]
    #: The owner that the data must have.
    uid: int
    gid: int

    @property
    def is_ours(self) -> bool:
        """Whether the program keeps the user id of this process."""
        return self.uid == os.geteuid()


def choose_account() -> Account:
    """Return the account for a program that refuses root.

    Raises:
        EmbeddedServerError: This is root, user namespaces are forbidden and there is no user ``nobody``.
    """
    if os.geteuid() != 0:
        return Account(prefix=(), uid=os.geteuid(), gid=os.getegid())
    unshare = shutil.which("unshare")
    if unshare is not None and _can_unshare(unshare):
        return Account(prefix=(unshare, *_NAMESPACE), uid=0, gid=os.getegid())
    return _nobody()


def _can_unshare(unshare: str) -> bool:
    words = (unshare, *_NAMESPACE, "true")
    probe = subprocess.run(words, check=False, capture_output=True, stdin=subprocess.DEVNULL)  # noqa: S603 - fixed words, a program found on PATH
    return probe.returncode == 0


def _nobody() -> Account:
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError:
        raise EmbeddedServerError(
            "PostgreSQL does not run as root, and here root can neither make a user namespace nor become"
            " `nobody`: start as an ordinary user, or set RELEASE_DATABASE_URL to a server of your own."
        ) from None
    return Account(prefix=(), uid=nobody.pw_uid, gid=nobody.pw_gid)
