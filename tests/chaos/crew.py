"""The supervisor of a run: keeps so many processes of each service alive, and kills them."""

import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from multiprocessing import get_context
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from random import Random

from tests.chaos.fast_clock import FastClock
from tests.chaos.service import Assignment, serve

#: Seconds before a dead process is started again, at most.
LONGEST_ABSENCE = 2.0


@dataclass(frozen=True, slots=True)
class Death:
    """How a process ended. `at`: time.monotonic(). `crash_point`: the point that killed it, if one did."""

    slot: str
    role: str
    exit_code: int
    crash_point: str | None
    at: float
    #: It was told to end.
    told: bool = False
    pid: int | None = None


@dataclass
class Slot:
    """A place for one process."""

    name: str
    role: str
    environment: Mapping[str, str]
    process: ForkServerProcess | None = None
    crash_at: tuple[str, int] | None = None
    started_at: float = 0.0
    #: time.monotonic() of the next start, while nothing runs.
    start_at: float = 0.0
    starts: int = 0
    #: The process was told to end.
    told: bool = False

    @property
    def lived(self) -> float:
        """Seconds since the last start."""
        return time.monotonic() - self.started_at


class Crew:
    """All slots. `next_crash(role)` says at which point the next process of a role is to die, if at any."""

    def __init__(
        self, folder: Path, clock: FastClock, rng: Random, next_crash: Callable[[str], tuple[str, int] | None]
    ) -> None:
        self._folder, self._clock, self._rng, self._next_crash = folder, clock, rng, next_crash
        self.slots: list[Slot] = []
        self.deaths: list[Death] = []
        #: Whether restarted processes may get a clock that goes wrong.
        self.skews: tuple[float, ...] = (0.0,)
        self._crashes = folder / "crashes.log"
        self._context = get_context("forkserver")
        # Everything is imported once; each start is a fork of that.
        self._context.set_forkserver_preload(["tests.chaos.service"])

    def add(self, role: str, environment: Mapping[str, str], *, start: bool = True) -> Slot:
        """A new slot, its process started."""
        number = sum(slot.role == role for slot in self.slots) + 1
        slot = Slot(f"{role}-{number}", role, environment)
        self.slots.append(slot)
        if start:
            self.start(slot)
        return slot

    def start(self, slot: Slot) -> None:
        """Starts a slot's process, with a crash point if it is to have one."""
        slot.crash_at = self._next_crash(slot.role)
        skew = self._rng.choice(self.skews) if slot.starts else 0.0
        assignment = Assignment(
            slot.role,
            dict(slot.environment),
            replace(self._clock, skew=skew),
            self._folder / f"{slot.name}.log",
            slot.crash_at,
        )
        slot.process = self._context.Process(target=serve, args=(assignment, self._crashes), daemon=True)
        slot.process.start()
        slot.started_at, slot.starts, slot.told = time.monotonic(), slot.starts + 1, False

    def look_after(self, absence: float | None = None) -> list[Death]:
        """Notes who died since the last look and starts again whose time has come.

        `absence`: seconds until a dead process is started again; chance decides without it.
        """
        now, died = time.monotonic(), []
        for slot in self.slots:
            if slot.process is not None and slot.process.exitcode is not None:
                died.append(self._note(slot, now))
                wait = self._rng.random() * LONGEST_ABSENCE if absence is None else absence
                slot.process, slot.start_at = None, now + wait
            if slot.process is None and slot.start_at <= now:
                self.start(slot)
        self.deaths += died
        return died

    def _note(self, slot: Slot, now: float) -> Death:
        assert slot.process is not None
        code, pid = slot.process.exitcode, slot.process.pid
        assert code is not None
        fallen = dict(line.split(" ", 1) for line in self._crash_lines())
        slot.process.close()
        point = fallen.get(str(pid)) if code == -signal.SIGKILL else None
        slot.crash_at = None
        return Death(slot.name, slot.role, code, point, now, slot.told, pid)

    def _crash_lines(self) -> list[str]:
        # Who dies while the disk is full leaves half a line.
        lines = self._crashes.read_text().splitlines() if self._crashes.is_file() else []
        return [line for line in lines if " " in line]

    def send(self, slot: Slot, number: int) -> bool:
        """A signal to a slot's process; False if there is none."""
        if slot.process is None or slot.process.exitcode is not None or slot.process.pid is None:
            return False
        os.kill(slot.process.pid, number)
        return True

    def tell_to_end(self, slot: Slot) -> None:
        """SIGTERM to one process; it is started again when it has ended."""
        slot.told = self.send(slot, signal.SIGTERM)

    def kill_any(self) -> None:
        """kill -9 of one process by chance."""
        self.send(self._rng.choice(self.slots), signal.SIGKILL)

    @property
    def killed(self) -> int:
        """Processes killed so far, by signals and by crash points."""
        return sum(death.exit_code == -signal.SIGKILL for death in self.deaths)

    def disarm(self) -> None:
        """From now on nobody is started with a crash point, and clocks go right."""
        self._next_crash = lambda _: None
        self.skews = (0.0,)

    def end(self, seconds: float = 30.0) -> dict[str, int]:
        """SIGTERM to all; the exit codes, -9 for who did not end in time."""
        running = {slot.name: slot.process for slot in self.slots if slot.process is not None}
        for process in running.values():
            if process.exitcode is None:
                process.terminate()
        deadline, codes = time.monotonic() + seconds, {}
        for name, process in running.items():
            process.join(max(0.1, deadline - time.monotonic()))
            if process.exitcode is None:
                process.kill()
                process.join()
            codes[name] = process.exitcode or 0
        for slot in self.slots:
            slot.process = None
        return codes
