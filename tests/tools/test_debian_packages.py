"""Programs of Debian packages are made ready by the machine's own apt, from a repository that the test has built."""

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.tools.debian_packages import CannotFetchError, Store

needs_apt = pytest.mark.skipif(shutil.which("apt-get") is None, reason="there is no apt here")


def build(repository: Path, name: str, *, file: str, text: str, needs: str = "dpkg") -> None:
    """Put a package with one file into a repository, and into its list."""
    tree = repository / f"{name}.tree"
    control = f"Package: {name}\nVersion: 1\nArchitecture: all\nMaintainer: a test <t@example.org>\n"
    control += f"Depends: {needs}\nDescription: made by a test\n"
    for path, content in (("DEBIAN/control", control), (file, text)):
        (tree / path).parent.mkdir(parents=True)
        (tree / path).write_text(content)
        (tree / path).chmod(0o755)
    archive = repository / f"{name}_1_all.deb"
    subprocess.run(["dpkg-deb", "--build", tree, archive], check=True, capture_output=True)
    packed = archive.read_bytes()
    entry = f"Filename: ./{archive.name}\nSize: {len(packed)}\nSHA256: {hashlib.sha256(packed).hexdigest()}\n"
    with (repository / "Packages").open("a") as packages:
        packages.write(f"{control}{entry}\n")


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty repository, the only one that apt knows."""
    repository = tmp_path / "repository"
    repository.mkdir()
    (repository / "Packages").touch()
    sources = tmp_path / "sources.list"
    sources.write_text(f"deb [trusted=yes] copy:{repository} ./\n")
    configuration = tmp_path / "apt.conf"
    configuration.write_text(f'Dir::Etc::sourcelist "{sources}";\nDir::Etc::sourceparts "/dev/null";\n')
    monkeypatch.setenv("APT_CONFIG", str(configuration))
    return repository


def output(*command: str | Path) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@needs_apt
def test_a_program_comes_with_what_it_needs(repository: Path, tmp_path: Path) -> None:
    """It runs, finds the libraries of the other package and our fonts, and nothing is left of apt."""
    library = "usr/lib/odd-place/libmade.so.1"
    build(repository, "made-library", file=library, text="")
    report = '#!/bin/sh\necho "$1 $LD_LIBRARY_PATH $FONTCONFIG_FILE"\n'
    build(repository, "made-program", file="usr/bin/made", text=report, needs="made-library")
    folder = tmp_path / "a store"
    store = Store(folder)
    store.fetch(["made-program"])
    said = output(store.program("made"), "given")

    assert said == f"given {folder}/root/usr/lib/odd-place {folder}/fonts.conf\n"
    assert (folder / "root" / library).exists()
    assert not (folder / "apt").exists()


@needs_apt
def test_a_program_that_knows_only_its_installed_place_is_started_itself(
    repository: Path, tmp_path: Path
) -> None:
    """Chromium's way: what lies in usr/bin looks for usr/lib/NAME/NAME at the root."""
    build(repository, "made-script", file="usr/bin/made", text="#!/bin/sh\nexec /usr/lib/made/made\n")
    build(
        repository,
        "made-binary",
        file="usr/lib/made/made",
        text="#!/bin/sh\necho itself\n",
        needs="made-script",
    )
    store = Store(tmp_path / "store")
    store.fetch(["made-binary"])

    assert output(store.program("made")) == "itself\n"


@needs_apt
def test_what_is_installed_is_used_and_what_is_ready_is_not_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The program of dpkg, which is there wherever apt is, starts, and the next time no tool is asked."""
    store = Store(tmp_path / "store")
    store.fetch(["dpkg"])
    said = output(store.program("dpkg"), "--version")
    monkeypatch.setenv("PATH", str(tmp_path))
    store.fetch(["dpkg"])

    assert "package management program" in said
    assert not (tmp_path / "store/root").exists()


@needs_apt
@pytest.mark.usefixtures("repository")
def test_a_package_that_is_nowhere_is_named(tmp_path: Path) -> None:
    """The sentence has the package and what apt says of it; the next try is made anew."""
    store = Store(tmp_path / "store")
    sentence = r"^apt does not get no-such-thing: Unable to locate package no-such-thing\.$"

    for _ in range(2):
        with pytest.raises(CannotFetchError, match=sentence):
            store.fetch(["no-such-thing"])


def test_without_apt_it_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sentence names the tool that is missing and the packages that cannot come."""
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(
        CannotFetchError, match=r"^Without apt-get, chromium, fonts cannot be fetched here\.$"
    ):
        Store(tmp_path / "store").fetch(["chromium", "fonts"])
