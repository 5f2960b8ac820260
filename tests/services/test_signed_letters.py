"""Letters as a real mail server receives them: DKIM, envelope, headers, addresses beyond ASCII (S9, S32)."""

import base64
import hashlib
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime
from email import message_from_bytes, policy
from email.utils import parsedate_to_datetime
from pathlib import Path
from time import process_time
from typing import Any

import dkim
import pytest

from services.mailer.dkim_signature import _NEVER_TWICE, SIGNED, DkimSignature
from services.mailer.signing import open_signing
from shared.domain.link_tokens import LinkTokens
from shared.domain.return_paths import ReturnPaths
from shared.errors import InvalidSettings
from shared.settings import load_settings
from tests.services.running import running, settings_for, until
from tests.services.world import SETUP, World
from tests.smtp_ledger import TakenMail
from tests.smtp_oracle import SmtpOracle
from tests.smtp_scripts import first, well_behaved

SECRET = "a-secret-of-return-paths-for-tests-only"
BOUNCE = {"KP_BOUNCE_ADDRESS": "bounce@mail.firma.example", "KP_LINK_KEYS": SECRET}
NAMED = {"KP_DKIM_DOMAIN": "firma.example", "KP_DKIM_SELECTOR": "k1"}
DATE = datetime.fromisoformat("2026-11-23T08:00:00+01:00")
MAIL = (
    b"From: Anna Weber\r\n  <a.weber@firma.example>\r\nTo: a1@x.example\r\nSubject:  \tzwei   Worte \r\n"
    b"Date: Mon, 23 Nov 2026 08:00:00 +0100\r\nX-Other: not signed\r\nMIME-Version: 1.0\r\n"
    b"List-Unsubscribe: <https://firma.example/x>\r\n\r\nGuten \t Tag \r\n\r\n\r\n\r\n"
)
UTF8 = ("PIPELINING", "8BITMIME", "SMTPUTF8")


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("dkim") / "key.pem"
    subprocess.run(["openssl", "genrsa", "-out", file, "2048"], check=True, capture_output=True, timeout=60)
    return file


def dns(key: Path) -> Any:
    """What would be asked of DNS: the public half of the key, at its name and nowhere else."""
    command = ["openssl", "rsa", "-in", str(key), "-pubout", "-outform", "DER"]
    public = base64.b64encode(subprocess.run(command, check=True, capture_output=True).stdout)

    def answer(name: bytes, timeout: int = 5) -> bytes | None:
        return b"v=DKIM1; k=rsa; p=" + public if name == b"k1._domainkey.firma.example." else None

    return answer


async def sent(
    world: World, folder: Path, applicant: str, oracle: SmtpOracle, setup: str = SETUP, **given: Any
) -> list[TakenMail]:
    await world.begin(applicant, setup=setup)
    await world.run()
    async with running(world, settings_for(folder, oracle.url, **given)):
        await until(world, lambda states: set(states.values()) <= {"sent", "failed"})
    return oracle.mails


@pytest.mark.parametrize("address", ["a1@x.example", "jürgen@müller.example"])
async def test_a_signed_letter_is_verified_on_the_bytes_that_arrived(
    world: World, tmp_path: Path, key: Path, address: str
) -> None:
    given = {**NAMED, **BOUNCE, "KP_DKIM_KEY_FILE": key}
    async with SmtpOracle(tmp_path / "ledger", first(2, "defer_dot_451"), extensions=UTF8) as oracle:
        (mail,) = await sent(world, tmp_path, f"A1,,Eins,{address},Neu,", oracle, **given)
        entries = oracle.ledger
    assert dkim.verify(mail.content, dnsfunc=dns(key))
    assert b"c=relaxed/relaxed" in mail.content
    # The same bytes on every attempt, though signed anew (I12).
    assert len(entries) == 3 and len({entry.sha256 for entry in entries}) == 1
    head, _, body = mail.content.partition(b"\r\n\r\n")
    for changed in (
        mail.content.replace(b"Guten Tag", b"Guten Weg"),
        head + b"\r\nSubject: another\r\n\r\n" + body,
        head + b"\r\nFrom: x@y.example\r\n\r\n" + body,
        head + b"\r\nList-Unsubscribe: <https://y.example>\r\n\r\n" + body,
        mail.content + b"more\r\n",
    ):
        assert not dkim.verify(changed, dnsfunc=dns(key))
    # What may change on the way: order of folding, further fields on top.
    assert dkim.verify(b"Received: from x by y\r\n" + mail.content, dnsfunc=dns(key))


def test_links_to_unsubscribe_are_signed_where_they_are(key: Path) -> None:
    mail = (
        b"From: a@firma.example\r\nList-Unsubscribe: <https://firma.example/x>\r\n"
        b"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n\r\nx\r\n"
    )
    signed = DkimSignature("firma.example", "k1", key).sign(mail, datetime.fromisoformat("2026-11-23T08:00:00+01:00"))
    assert dkim.verify(signed, dnsfunc=dns(key))
    assert not dkim.verify(signed.replace(b"firma.example/x", b"firma.example/y"), dnsfunc=dns(key))
    assert not dkim.verify(signed.replace(b"=One-Click", b"=Two-Clicks"), dnsfunc=dns(key))
    assert {"list-unsubscribe", "list-unsubscribe-post", "from", "auto-submitted"} <= set(SIGNED)


def relaxed(name: bytes, value: bytes) -> bytes:
    """A field in the form that is signed (RFC 6376, 3.4.2)."""
    return name.lower().strip() + b":" + re.sub(rb"[ \t]+", b" ", value.replace(b"\r\n", b"")).strip()


def fields_of(mail: bytes) -> list[tuple[bytes, bytes]]:
    head = re.sub(rb"\r\n(?=[ \t])", b"", mail.partition(b"\r\n\r\n")[0])
    return [(name, value) for name, _, value in (line.partition(b":") for line in head.split(b"\r\n"))]


def test_a_signature_is_what_the_standard_says_by_openssl_alone(key: Path, tmp_path: Path) -> None:
    signed = DkimSignature("firma.example", "k1", key).sign(MAIL, DATE)
    (_, written), *fields = fields_of(signed)
    tags = {
        name.strip(): value.replace(b" ", b"") for name, _, value in (t.partition(b"=") for t in written.split(b";"))
    }
    body = re.sub(rb"[ \t]+(?=\r\n)", b"", re.sub(rb"[ \t]+", b" ", signed.partition(b"\r\n\r\n")[2]))
    body = re.sub(rb"(\r\n)*\Z", b"", body) + b"\r\n"
    assert base64.b64decode(tags[b"bh"]) == hashlib.sha256(body).digest()
    assert (tags[b"a"], tags[b"t"]) == (b"rsa-sha256", str(int(DATE.timestamp())).encode())
    rest, text = list(reversed(fields)), b""
    for name in tags[b"h"].split(b":"):
        # The last of that name that was not taken yet; none is an empty one.
        found = next((one for one in rest if one[0].lower() == name), None)
        if found:
            rest.remove(found)
            text += relaxed(*found) + b"\r\n"
    text += relaxed(b"dkim-signature", re.sub(rb"(; ?b=).*", rb"\1", written))
    (tmp_path / "text").write_bytes(text)
    (tmp_path / "signature").write_bytes(base64.b64decode(tags[b"b"]))
    public = subprocess.run(["openssl", "rsa", "-in", key, "-pubout"], check=True, capture_output=True).stdout
    (tmp_path / "public.pem").write_bytes(public)
    command = ["openssl", "dgst", "-sha256", "-verify", "public.pem", "-signature", "signature", "text"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "Verified OK", done.stderr


def test_a_signature_is_that_of_dkimpy_in_a_fraction_of_its_time(key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    signature, pem = DkimSignature("firma.example", "k1", key), key.read_bytes()
    names = [name for name in SIGNED if f"\n{name}:" in f"\n{MAIL.decode().lower()}"] + list(_NEVER_TWICE)
    monkeypatch.setattr(dkim.time, "time", DATE.timestamp)

    def theirs() -> bytes:
        # As `openssl genrsa` writes it since 3.0; dkimpy takes this form too.
        header = dkim.DKIM(MAIL, linesep=b"\r\n").sign(
            b"k1", b"firma.example", pem, canonicalize=(b"relaxed", b"relaxed"), include_headers=names
        )
        return bytes(header) + MAIL

    def seconds(sign: Callable[[], bytes]) -> float:
        taken = []
        for _ in range(20):
            began = process_time()
            assert sign() == expected
            taken.append(process_time() - began)
        return min(taken)

    expected = theirs()
    ours = seconds(lambda: signature.sign(MAIL, DATE))
    assert ours * 5 < seconds(theirs)


def test_the_key_is_read_once(key: Path, tmp_path: Path) -> None:
    (own := tmp_path / "key.pem").write_bytes(key.read_bytes())
    signature = DkimSignature("firma.example", "k1", own)
    own.unlink()
    assert dkim.verify(signature.sign(MAIL, DATE), dnsfunc=dns(key))


async def test_without_a_key_letters_are_as_they_were(world: World, tmp_path: Path) -> None:
    async with SmtpOracle(tmp_path / "ledger") as oracle:
        (mail,) = await sent(world, tmp_path, "A1,,Eins,a1@x.example,Neu,", oracle)
    assert mail.content.startswith(b"From: ") and b"DKIM" not in mail.content
    assert mail.sender == "a.weber@firma.example"


def test_without_a_key_nothing_of_it_is_imported(tmp_path: Path) -> None:
    code = (
        "import sys; import services.mailer.service, services.mailer.trial_mail\n"
        "from services.mailer.signing import open_signing; from shared.settings import load_settings\n"
        "assert open_signing(load_settings({})) is None; sys.exit(bool({'dkim', 'cryptography'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=tmp_path).returncode == 0


async def test_what_a_letter_says_about_itself_and_its_way_back(world: World, tmp_path: Path) -> None:
    async with SmtpOracle(tmp_path / "ledger") as oracle:
        (mail,) = await sent(world, tmp_path, "A1,,Eins,a1@x.example,Neu,", oracle, **BOUNCE)
    order = await world.order("A1")
    # The envelope's sender is the letter's own; what people see and answer to is the sender's.
    paths = ReturnPaths("bounce@mail.firma.example", LinkTokens([SECRET]))
    assert mail.sender == paths.of(order["id"]) and paths.order_of(mail.sender) == order["id"]
    found = message_from_bytes(mail.content, policy=policy.default)
    assert found["From"] == "Anna Weber <a.weber@firma.example>"
    assert found["Return-Path"] is None  # whoever delivers it writes it
    assert not mail.smtputf8  # only what needs it asks for it
    assert found["Auto-Submitted"] == "auto-generated"
    assert found["Message-ID"] == order["message_id"]
    assert re.fullmatch(rf"<order-{order['id']}\.[0-9a-f-]{{36}}@firma\.example>", found["Message-ID"])
    date = parsedate_to_datetime(found["Date"])
    assert date == order["mail_date"].replace(microsecond=0) and str(found["Date"]).endswith("+0100")


@pytest.mark.parametrize(
    ("extensions", "address", "state", "recipient"),
    [
        (UTF8, "jürgen@müller.example", "sent", "jürgen@xn--mller-kva.example"),
        (UTF8, "x@müller.example", "sent", "x@xn--mller-kva.example"),
        (("PIPELINING",), "x@müller.example", "sent", "x@xn--mller-kva.example"),
        (("PIPELINING",), "jürgen@müller.example", "failed", None),
    ],
)
async def test_s9_addresses_beyond_ascii_end_to_end(
    world: World, tmp_path: Path, extensions: tuple[str, ...], address: str, state: str, recipient: str | None
) -> None:
    async with SmtpOracle(tmp_path / "ledger", well_behaved, extensions=extensions) as oracle:
        mails = await sent(world, tmp_path, f"A1,,Eins,{address},Neu,", oracle, **BOUNCE)
    order = await world.order("A1")
    assert (order["state"], [mail.recipient for mail in mails]) == (state, [recipient] if recipient else [])
    if recipient:
        found = message_from_bytes(mails[0].content, policy=policy.default.clone(utf8=True))
        assert found["To"] == recipient
    else:
        assert "smtputf8" in order["reason"]


@pytest.mark.parametrize(("extensions", "state"), [(UTF8, "sent"), (("PIPELINING",), "failed")])
async def test_s9_a_sender_beyond_ascii_stands_in_the_head_alone(
    world: World, tmp_path: Path, extensions: tuple[str, ...], state: str
) -> None:
    setup = SETUP.replace("a.weber@firma.example", "jörg@firma.example")
    async with SmtpOracle(tmp_path / "ledger", well_behaved, extensions=extensions) as oracle:
        mails = await sent(world, tmp_path, "A1,,Eins,a1@x.example,Neu,", oracle, setup, **BOUNCE)
    order = await world.order("A1")
    assert order["state"] == state
    for mail in mails:
        assert mail.smtputf8 and mail.sender.isascii() and mail.recipient.isascii()
        assert "<jörg@firma.example>".encode() in mail.content.partition(b"\r\n\r\n")[0]
    assert len(mails) == (state == "sent")
    assert state == "sent" or "smtputf8" in order["reason"]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"KP_DKIM_SELECTOR": ""}, "KP_DKIM_SELECTOR: is needed too"),
        ({"KP_DKIM_DOMAIN": ""}, "KP_DKIM_DOMAIN: is needed too"),
        ({"KP_DKIM_KEY_FILE": ""}, "KP_DKIM_KEY_FILE: is needed too"),
        ({"KP_DKIM_SELECTOR": "k1; d=x.example"}, "KP_DKIM_SELECTOR: .* is no name in DNS"),
        ({"KP_DKIM_DOMAIN": "firma .example"}, "KP_DKIM_DOMAIN: .* is no name in DNS"),
        ({"KP_DKIM_KEY_FILE": "missing.pem"}, "KP_DKIM_KEY_FILE: .*No such file"),
        ({"KP_DKIM_KEY_FILE": "other.pem"}, "KP_DKIM_KEY_FILE: .*holds no private key"),
        ({"KP_DKIM_KEY_FILE": "short.pem"}, "KP_DKIM_KEY_FILE: .*512 bits"),
        ({"KP_DKIM_KEY_FILE": "curve.pem"}, "KP_DKIM_KEY_FILE: .*another kind"),
        ({"KP_DKIM_KEY_FILE": "closed.pem"}, "KP_DKIM_KEY_FILE: .*passphrase"),
    ],
)
def test_half_a_signature_is_refused_and_no_key_is_shown(
    tmp_path: Path, key: Path, changed: dict[str, str], said: str
) -> None:
    (tmp_path / "other.pem").write_text("-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n")
    for command in (
        ["genrsa", "-out", "short.pem", "512"],
        ["genpkey", "-algorithm", "ed25519", "-out", "curve.pem"],
        ["genrsa", "-aes128", "-passout", "pass:c2VjcmV0", "-out", "closed.pem", "2048"],
    ):
        subprocess.run(["openssl", *command], cwd=tmp_path, check=True, capture_output=True)
    files = {name: str(tmp_path / value) for name, value in changed.items() if value.endswith(".pem")}
    given = {**NAMED, "KP_DKIM_KEY_FILE": str(key), **changed, **files}
    settings = load_settings({name: value for name, value in given.items() if value})
    with pytest.raises(InvalidSettings, match=said) as told:
        open_signing(settings)
    assert "c2VjcmV0" not in str(told.value)


@pytest.mark.parametrize("package", ["dkim", "cryptography.exceptions"])
def test_a_signature_without_the_extra_says_what_to_install(
    key: Path, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "services.mailer.dkim_signature")
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InvalidSettings, match=r"install kontaktpflege\[dkim\]"):
        open_signing(load_settings({**NAMED, "KP_DKIM_KEY_FILE": str(key)}))
