"""What is kept of one person, as a file to hand over (Art. 15 GDPR)."""

from shared.evidence.file import WriteAgain, write_evidence

__all__ = ["WriteAgain", "write_evidence"]
