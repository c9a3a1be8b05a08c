"""Fetches programs from Debian packages for the tests, without root and without installing anything.

``python tests/tools/debian_packages.py chromium fonts-wqy-microhei`` unpacks the packages, and what they need that this
machine has not, under ``.venv-tools/debian``. Each program is then started as ``.venv-tools/debian/bin/NAME``, which
finds the libraries and fonts beside it. What is installed is used as it is, and what was fetched stays.
"""

import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]

#: What the machine's apt runs after an update is meant for the machine's own lists, and may need root.
_NO_HOOKS = "#clear APT::Update::Post-Invoke;\n#clear APT::Update::Post-Invoke-Success;\n"

_FONTS = """\
<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "urn:fontconfig:fonts.dtd">
<fontconfig>
  <dir>{folder}/root/usr/share/fonts</dir>
  <dir>/usr/share/fonts</dir>
  <cachedir>{folder}/font-cache</cachedir>
  <alias><family>Times New Roman</family><prefer><family>DejaVu Serif</family></prefer></alias>
  <alias><family>serif</family><prefer><family>DejaVu Serif</family></prefer></alias>
  <alias><family>Monospace</family><prefer><family>DejaVu Sans Mono</family></prefer></alias>
  <match><edit name="family" mode="append_last"><string>DejaVu Sans</string></edit></match>
</fontconfig>
"""


class CannotFetchError(Exception):
    """Packages cannot be fetched; the message says in one sentence what is missing."""


@dataclass(frozen=True, slots=True)
class Apt:
    """The machine's apt with lists and a cache of our own: the machine's may be absent, and are root's."""

    folder: Path

    def download(self, packages: Sequence[str]) -> list[Path]:
        """Download the packages, and those that they need and that are not installed; return the archives.

        Raises:
            CannotFetchError: apt does not get them.
        """
        archives = self.folder / "cache/archives"
        for place in (archives / "partial", self.folder / "state/lists/partial"):
            place.mkdir(parents=True, exist_ok=True)
        (self.folder / "hooks.conf").write_text(_NO_HOOKS)
        updated = self._run("update")
        got = self._run("install", "--yes", "--download-only", "--no-install-recommends", *packages)
        if got.returncode != 0:
            reason = _first_error(updated.stderr + got.stderr)
            raise CannotFetchError(f"apt does not get {', '.join(packages)}: {reason}.")
        return sorted(archives.glob("*.deb"))

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        options = {
            "Dir::State": self.folder / "state",
            "Dir::State::status": "/var/lib/dpkg/status",
            "Dir::Cache": self.folder / "cache",
            "Debug::NoLocking": 1,
            # Otherwise root's apt downloads as a user who may not be able to write here.
            "APT::Sandbox::User": "root",
            "Acquire::http::Timeout": 20,
        }
        given = [f"-o{name}={value}" for name, value in options.items()]
        return _run("apt-get", "-c", str(self.folder / "hooks.conf"), "-q", *given, *arguments)


@dataclass(frozen=True, slots=True)
class Store:
    """The folder with what was fetched."""

    folder: Path

    def program(self, name: str) -> Path:
        """Return the path by which a program is started; it is there once its package was fetched."""
        return self.folder / "bin" / name

    @property
    def libraries(self) -> str:
        """The folders of all libraries that were fetched, as LD_LIBRARY_PATH names them; empty if there are none."""
        places = (self._root / top for top in ("lib", "usr/lib"))
        folders = {library.parent for place in places for library in place.glob("**/lib*.so*")}
        return ":".join(map(str, sorted(folders)))

    def fetch(self, packages: Sequence[str]) -> None:
        """Make programs and fonts of the packages ready for use, unless they are.

        Raises:
            CannotFetchError: This machine has no apt, or apt does not get a package.
        """
        wanted = [package for package in packages if not self._receipt(package).exists()]
        if not wanted:
            return
        _need_apt(wanted)
        missing = [package for package in wanted if not _is_installed(package)]
        if missing:
            self._unpack(missing)
        self._write_fonts()
        self._wrap_installed(set(wanted) - set(missing))
        self._wrap_fetched()
        self._note(wanted)

    @property
    def _root(self) -> Path:
        return self.folder / "root"

    def _receipt(self, package: str) -> Path:
        return self.folder / "ready" / package

    def _unpack(self, packages: Sequence[str]) -> None:
        apt = Apt(self.folder / "apt")
        for archive in apt.download(packages):
            unpacked = _run("dpkg-deb", "--extract", str(archive), str(self._root))
            if unpacked.returncode != 0:
                raise CannotFetchError(f"{archive.name} cannot be unpacked: {unpacked.stderr.strip()}.")
        shutil.rmtree(apt.folder)

    def _write_fonts(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "fonts.conf").write_text(_FONTS.format(folder=self.folder))

    def _wrap_installed(self, packages: Iterable[str]) -> None:
        for package in packages:
            files = _run("dpkg-query", "--listfiles", package).stdout.splitlines()
            for name in files:
                if name.startswith("/usr/bin/"):
                    self._wrap(Path(name), {})

    def _wrap_fetched(self) -> None:
        environment = {"LD_LIBRARY_PATH": self.libraries}
        for program in self._root.glob("usr/bin/*"):
            # What is started in usr/bin may be a script that knows only the place of an installed package.
            binary = self._root / "usr/lib" / program.name / program.name
            self._wrap(binary if binary.is_file() else program, environment)

    def _wrap(self, program: Path, environment: Mapping[str, str]) -> None:
        fonts = {"FONTCONFIG_FILE": str(self.folder / "fonts.conf")}
        exports = (f"export {name}={shlex.quote(value)}" for name, value in {**fonts, **environment}.items())
        wrapper = self.program(program.name)
        wrapper.parent.mkdir(exist_ok=True)
        wrapper.write_text("\n".join(["#!/bin/sh", *exports, f'exec {shlex.quote(str(program))} "$@"', ""]))
        wrapper.chmod(0o755)

    def _note(self, packages: Iterable[str]) -> None:
        for package in packages:
            self._receipt(package).parent.mkdir(exist_ok=True)
            self._receipt(package).touch()


#: What ``make`` has fetched for this checkout.
STORE = Store(REPOSITORY / ".venv-tools/debian")


def _need_apt(packages: Sequence[str]) -> None:
    for tool in ("apt-get", "dpkg-query", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise CannotFetchError(f"Without {tool}, {', '.join(packages)} cannot be fetched here.")


def _is_installed(package: str) -> bool:
    status = _run("dpkg-query", "--show", "--showformat=${Status}", package).stdout
    return status == "install ok installed"


def _first_error(said: str) -> str:
    errors = (line.partition(" ")[2] for line in said.splitlines() if line.startswith(("E:", "Err:")))
    return next(errors, "it gives no reason").rstrip(".")


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, check=False, capture_output=True, text=True)


def main(packages: Sequence[str]) -> int:
    """Fetch the packages and return the exit status."""
    try:
        STORE.fetch(packages)
    except CannotFetchError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
