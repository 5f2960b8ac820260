"""A real IMAP server (Dovecot) with one mailbox, in a folder of its own, on ports of loopback."""

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from tests.servers.processes import free_port, listens, tail
from tests.servers.programs import program

USER, PASSWORD = "bounce", "secret/of:the@mailbox"
_COMMON = """
protocols = imap
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/log
listen = 127.0.0.1
ssl = yes
first_valid_uid = 1
mail_plugins =
default_internal_user = {internal}
default_internal_group = {internal_group}
default_login_user = {login}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {plain_port}
  }}
  inet_listener imaps {{
    port = {port}
    ssl = yes
  }}
}}
# Who gives a wrong password on purpose waits for no punishment.
auth_failure_delay = 0
service anvil {{
  chroot =
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
"""
_CONFIG_2_3 = """
disable_plaintext_auth = yes
ssl_cert = <{folder}/cert.pem
ssl_key = <{folder}/key.pem
mail_location = maildir:{folder}/mail
passdb {{
  driver = static
  args = password={password}
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={folder}/home
}}
"""
#: Written after its manual; only 2.3 was at hand when these tests were made.
_CONFIG_2_4 = """
auth_allow_cleartext = no
ssl_server_cert_file = {folder}/cert.pem
ssl_server_key_file = {folder}/key.pem
mail_driver = maildir
mail_path = {folder}/mail
passdb static {{
  password = {password}
}}
userdb static {{
  fields {{
    uid = {uid}
    gid = {gid}
    home = {folder}/home
  }}
}}
"""


class Dovecot:
    """Runs while it is entered. `certificate` is a folder with cert.pem and key.pem for localhost."""

    def __init__(self, certificate: Path) -> None:
        self._program = program("dovecot")
        self._folder = Path(tempfile.mkdtemp(prefix="kp-test-dovecot-"))
        self.port, self.plain_port = free_port(), free_port()
        for name in ("cert.pem", "key.pem"):
            shutil.copy(certificate / name, self._folder / name)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """For KP_IMAP_URL, without the password."""
        return f"imaps://{USER}@localhost:{self.port}"

    def __enter__(self) -> "Dovecot":
        for part in ("cur", "new", "tmp"):
            (self._folder / "mail" / part).mkdir(parents=True)
        (self._folder / "home").mkdir()
        root = os.geteuid() == 0
        me = pwd.getpwnam("nobody") if root else pwd.getpwuid(os.geteuid())
        names = ("dovecot", "dovecot", "dovenull") if root else (me.pw_name, str(me.pw_gid), me.pw_name)
        if root:
            for path in (self._folder, *self._folder.rglob("*")):
                os.chown(path, me.pw_uid, me.pw_gid)
        self._folder.chmod(0o755)
        version = subprocess.run([self._program, "--version"], capture_output=True, text=True, check=True).stdout
        is_new = not version.startswith("2.3")
        head = "dovecot_config_version = 2.4.0\ndovecot_storage_version = 2.4.0\n" if is_new else ""
        text = (head + _COMMON + (_CONFIG_2_4 if is_new else _CONFIG_2_3)).format(
            folder=self._folder,
            internal=names[0],
            internal_group=names[1],
            login=names[2],
            port=self.port,
            plain_port=self.plain_port,
            password=PASSWORD,
            uid=me.pw_uid,
            gid=me.pw_gid,
        )
        (self._folder / "dovecot.conf").write_text(text)
        output = (self._folder / "output").open("wb")
        self._process = subprocess.Popen(
            [self._program, "-F", "-c", str(self._folder / "dovecot.conf")], stdout=output, stderr=output
        )
        deadline = time.monotonic() + 20
        while not listens(self.port):
            if self._process.poll() is not None or time.monotonic() > deadline:
                said = tail(self._folder / "output") + tail(self._folder / "log")
                self.__exit__()
                raise AssertionError(f"Dovecot does not start: {said}")
            time.sleep(0.05)
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(10)
            self._process.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def put(self, name: str, mail: bytes) -> None:
        """A mail arrives, as a mail server on this machine would deliver it."""
        written = self._folder / "mail" / "tmp" / name
        written.write_bytes(mail.replace(b"\r\n", b"\n"))
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            os.chown(written, nobody.pw_uid, nobody.pw_gid)
        written.replace(self._folder / "mail" / "new" / name)

    def mails(self, folder: str = "") -> list[bytes]:
        """The mails of INBOX, or of another folder, without those that are only marked as deleted."""
        place = self._folder / "mail" / (f".{folder}" if folder else "")
        names = sorted(path for part in ("new", "cur") for path in (place / part).glob("*"))
        return [path.read_bytes() for path in names if not path.name.rpartition(",")[2].count("T")]

    def log(self) -> str:
        """What it wrote down."""
        return (self._folder / "log").read_text(errors="replace")
