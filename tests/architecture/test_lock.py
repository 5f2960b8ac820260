"""Where packages come from, and that nothing names a developer's machine."""

import re
import subprocess
import tomllib

from tests.architecture import ROOT

FOLDERS = ("services", "shared", "tests", "bench", "docs", "deploy")
HOSTS = {"pypi.org", "files.pythonhosted.org"}


def test_the_lock_names_no_other_host() -> None:
    text = (ROOT / "uv.lock").read_text()
    assert set(re.findall(r"https?://([^/\"]+)", text)) == HOSTS
    assert len(tomllib.loads(text)["package"]) > 50


def test_no_file_names_a_path_of_a_machine() -> None:
    # Put together here, so that this file is none of those it looks for.
    homes = ("/" + "root" + "/", "/" + "home" + "/[a-z]", "/" + "Users" + "/", "/" + "work" + "/")
    pattern = re.compile("|".join(homes))
    done = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    names = (
        done.stdout.split("\n")
        if done.returncode == 0
        else [
            # A source archive has no git; its virtual environment does hold such paths.
            *map(str, ROOT.glob("*.*")),
            *(
                str(path)
                for folder in FOLDERS
                for path in (ROOT / folder).rglob("*.*")
                if "__pycache__" not in path.parts
            ),
        ]
    )
    found = []
    for name in filter(None, names):
        path = ROOT / name
        if path.is_file() and path.suffix not in (".csv", ".lock"):
            found += [(name, hit) for hit in pattern.findall(path.read_text(errors="replace"))]
    assert not found
