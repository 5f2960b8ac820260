"""The virtual clock: which letters the coming days would bring. Nothing is written, sent or locked."""

from shared.simulation.private_copy import private_copy
from shared.simulation.simulate import Letter, Simulation, Skip, simulate

__all__ = ["Letter", "Simulation", "Skip", "private_copy", "simulate"]
