"""One service as the chaos run starts it: the shipped code, a shared clock, and perhaps one crash point."""

import asyncio
import gc
import os
import signal
from dataclasses import dataclass
from pathlib import Path

import uvloop

from services.cli.composition import ROLES, run_services
from services.cli.running import COLLECT_AFTER
from shared.logs import configure_logging
from shared.settings import load_settings
from tests.chaos.crash_points import install, point_named
from tests.chaos.fast_clock import FastClock


@dataclass(frozen=True, slots=True)
class Assignment:
    """What a started process is to do. `crash_at`: the name of a crash point and the pass that counts."""

    role: str
    environment: dict[str, str]
    clock: FastClock
    log: Path
    crash_at: tuple[str, int] | None = None


def serve(assignment: Assignment, crashes: Path) -> None:
    """Runs until SIGTERM or its crash; the whole life of a forked process."""
    descriptor = os.open(assignment.log, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    # A run that is interrupted ends its services itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if assignment.crash_at is not None:
        name, passes = assignment.crash_at
        install(point_named(name), passes, crashes)
    settings = load_settings(assignment.environment)
    configure_logging(settings.kp_log_level, as_json=True, patient=True)
    # As `run` does.
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)
    roles = ROLES if assignment.role == "all" else (assignment.role,)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run_services(settings, roles, clock=assignment.clock))
