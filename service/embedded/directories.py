"""Makes the private directories of a server: for its data and for its unix socket."""

import hashlib
import os
import re
import stat
import tempfile
from pathlib import Path

from service.core.errors import EmbeddedServerError

#: Bytes of a unix socket's path: Linux has 108 and macOS 104, each with a closing zero (unix(7), unix(4)).
MAX_SOCKET_PATH = 103
#: What asyncpg and arq take in a socket's path: asyncpg splits at commas, arq leaves ``%20`` as it is.
_PLAIN_PATH = re.compile(r"[A-Za-z0-9._/-]+")
_PRIVATE = 0o700


def make_private(directory: Path, *, uid: int, gid: int) -> None:
    """Make the directory, for its owner alone; give it and what is in it to ``uid`` where it is another's.

    Raises:
        EmbeddedServerError: The directory cannot be made or belongs to another user.
    """
    try:
        directory.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
        if directory.lstat().st_uid != uid:
            _give(directory, uid=uid, gid=gid)
        directory.chmod(_PRIVATE)
    except OSError as error:
        raise EmbeddedServerError(
            f"The directory {directory} cannot be used ({error.strerror}): choose one that you own."
        ) from error


def socket_directory(data_dir: Path, *, socket_name: str) -> Path:
    """Return where the socket goes: beside the data if a URL and the kernel can name it there.

    Else it goes under the temporary directory. That name follows from the data directory's, so it is the same
    at each start.
    """
    if _PLAIN_PATH.fullmatch(str(data_dir)) and len(os.fsencode(data_dir / socket_name)) <= MAX_SOCKET_PATH:
        return data_dir
    digest = hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:16]
    return Path(tempfile.gettempdir(), f"release-{os.geteuid()}-{digest}")


def make_socket_directory(directory: Path, *, uid: int, gid: int) -> None:
    """Make the directory of a socket private.

    Raises:
        EmbeddedServerError: Somebody else has put something in its place.
    """
    if directory.is_symlink() or (directory.exists() and not _is_trusted(directory, uid=uid)):
        raise EmbeddedServerError(
            f"{directory} belongs to somebody else: remove it, or set TMPDIR to a private place."
        )
    make_private(directory, uid=uid, gid=gid)


def remove_socket_directory(directory: Path, *, data_dir: Path) -> None:
    """Remove a short socket directory; one that is also the data directory stays."""
    if directory != data_dir and directory.is_dir() and not any(directory.iterdir()):
        directory.rmdir()


def _is_trusted(directory: Path, *, uid: int) -> bool:
    found = directory.lstat()
    return stat.S_ISDIR(found.st_mode) and found.st_uid in {uid, os.geteuid()}


def _give(directory: Path, *, uid: int, gid: int) -> None:
    for folder, _, files in os.walk(directory):
        os.chown(folder, uid, gid, follow_symlinks=False)
        for name in files:
            os.chown(Path(folder, name), uid, gid, follow_symlinks=False)
