"""What a run sends: many small jobs, one after another, each with applicants of its own; one letter for each person."""

import csv
import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

#: Local time at which the run begins, on a day without a clock change.
BEGIN = datetime.fromisoformat("2026-11-23T06:00:00+01:00")
#: One applicant in so many has no usable address.
WITHOUT_ADDRESS = 50


@dataclass(frozen=True, slots=True)
class Workload:
    """`jobs` jobs of `each` applicants, due one after another, `minutes` of the run's clock apart, from `first` on."""

    jobs: int
    each: int
    minutes: int
    first: datetime = BEGIN + timedelta(minutes=3)

    @property
    def orders(self) -> int:
        """Orders that all jobs make together."""
        return self.jobs * self.each

    def job_of(self, number: int) -> str:
        """A job's name."""
        return f"Los {number:04d}"

    def due(self, number: int) -> datetime:
        """A job's send moment."""
        return self.first + timedelta(minutes=number * self.minutes)

    def resends(self, number: int) -> bool:
        """Every other job sends unclear letters again by itself (`on_unclear: resend`)."""
        return number % 2 == 1

    def setup(self, resend: bool | None = None) -> str:
        """The setup file. `resend`: for all jobs the same policy for unclear letters."""
        queries, jobs = [], []
        for number in range(self.jobs):
            name, again = self.job_of(number), self.resends(number) if resend is None else resend
            queries.append(f"  - {{name: {name}, filters: [{{field: department, in: [{name}]}}]}}\n")
            due = self.due(number)
            when = f"dispatch: {{every_months: 12, anchor: {due.date()}}}, time: '{due:%H:%M}'"
            jobs.append(
                f"  - {{name: {name}, status: An, query: {name}, letter: Brief, {when}, "
                f"on_unclear: {'resend' if again else 'ask'}, sender: 'HR <hr@firma.example>'}}\n"
            )
        settings = "settings: {time_zone: Europe/Berlin, sync_minutes: 60, sender: 'HR <hr@firma.example>'}\n"
        return f"{settings}queries:\n{''.join(queries)}{self.letter(0)}jobs:\n{''.join(jobs)}"

    def letter(self, edition: int) -> str:
        """The part of the setup file with the letter, which says its edition."""
        text = f"'{{{{ salutation_line }}}} Fassung-{edition}'"
        return f"letters: [{{name: Brief, subject: 'Guten Tag {{{{ applicant.last_name }}}}', text: {text}}}]\n"

    def write_applicants(self, file: Path) -> None:
        """The applicants' file; some have no usable address."""
        with file.open("w", encoding="utf-8", newline="") as out:
            writer = csv.writer(out)
            writer.writerow(["external_id", "last_name", "email", "department"])
            for job in range(self.jobs):
                for number in range(self.each):
                    name = f"{job}-{number}"
                    address = self.address(name) if self.has_address(name) else f"kanarienvogel{name} bei firma"
                    writer.writerow([name, f"Wendehals{name}", address, self.job_of(job)])

    def expected(self) -> dict[str, bool]:
        """By external id, whom a letter is due, and whether it can be sent."""
        names = (f"{job}-{number}" for job in range(self.jobs) for number in range(self.each))
        return {name: self.has_address(name) for name in names}

    def address(self, external_id: str, after: str = "") -> str:
        """An applicant's address, at first or after a change."""
        return f"kanarienvogel{external_id}{after}@firma.example"

    def has_address(self, external_id: str) -> bool:
        """Whether a letter can be sent to this applicant at all."""
        digest = hashlib.sha256(external_id.encode()).digest()
        return int.from_bytes(digest[:4], "big") % WITHOUT_ADDRESS != 0
