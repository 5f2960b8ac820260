"""What doctor says of a state directory that cannot be written: each service needs it for something else."""

from pathlib import Path

import pytest

from services.cli.doctor.findings import Installation, Trouble
from services.cli.doctor.surroundings import state_directory
from shared.db.engine import Database
from shared.settings import load_settings


@pytest.mark.parametrize(
    ("role", "needs"),
    [
        ("mailer", {"no mail is sent"}),
        ("public", {"what candidates say is written nowhere"}),
        ("all", {"no mail is sent", "what candidates say is written nowhere"}),
        ("scheduler", {"the database is in it"}),
    ],
)
async def test_what_is_missed_is_told_by_service(tmp_path: Path, role: str, needs: set[str]) -> None:
    (tmp_path / "file").touch()
    settings = load_settings({"KP_STATE_DIR": str(tmp_path / "file" / "state")}, tmp_path / ".env")
    found = await state_directory(Installation(settings, Database("sqlite:///:memory:"), role))
    (trouble,) = found
    assert isinstance(trouble, Trouble) and trouble.grave
    told = {"no mail is sent", "what candidates say is written nowhere", "the database is in it"}
    assert {one for one in told if one in trouble.fix} == needs
