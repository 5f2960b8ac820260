"""What is kept of one person, as a file to hand over (Art. 15 GDPR)."""

from shared.evidence.file import write_evidence
from shared.evidence.rewriting import WriteAgain

__all__ = ["WriteAgain", "write_evidence"]
