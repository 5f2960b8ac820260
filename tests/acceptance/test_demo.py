"""`make demo ONCE=1` as a newcomer meets it."""

import subprocess
import sys
from pathlib import Path


def test_the_demo_sends_the_letters_of_the_three_scenarios_and_ends(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "services", "demo", "--once", "--state", str(tmp_path / "state")],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "943 mails arrived at the mail catcher for 943 letters sent" in done.stdout
    table = done.stdout.split("Letters of 2026-11-23")[1]
    rows = [[cell.strip() for cell in line.strip("│ ").split("│")] for line in table.splitlines() if "│" in line]
    assert rows == [
        ["Prozesshänger", "835", "835", "0", "0"],
        ["Geburtstagsgrüße", "8", "8", "0", "0"],
        ["Endgültige Absage Pool", "109", "100", "9", "0"],
    ]
    assert done.stdout.count("no_address: ") == 9
