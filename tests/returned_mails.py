"""The corpus of mails that come back, as files named KIND.SYSTEM-CASE.eml; letter and addresses are filled in."""

from pathlib import Path

FOLDER = Path(__file__).parent / "data" / "returned_mails"
NAMES = sorted(path.stem for path in FOLDER.glob("*.eml"))
#: Bounces that name a letter and say nothing about its address: of another mail, and of another recipient.
BESIDE = ("hard.answer-in-the-thread", "hard.other-recipient")
LETTER = "<order-17.0f3c1a52-7d1e-5b1c-9a53-2f1de0a5c001@firma.example>"
BOUNCE = "bounce+abcdefgh234567@mail.firma.example"
ADDRESS = "erika.muster@other.example"


def returned_mail(name: str, *, letter: str = LETTER, bounce: str = BOUNCE, address: str = ADDRESS) -> bytes:
    """One mail of the corpus, with the line ends of the wire."""
    text = (FOLDER / f"{name}.eml").read_text(encoding="utf-8")
    for mark, value in (("letter", letter), ("bounce", bounce), ("address", address)):
        text = text.replace("{{" + mark + "}}", value)
    return text.replace("\n", "\r\n").encode()
