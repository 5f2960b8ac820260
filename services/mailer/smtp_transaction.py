"""One mail over an established connection: MAIL, RCPT, DATA, body, T2, dot. The dot is written on its own.

aiosmtplib writes body and dot in one go and cannot tell "closed before" from "closed after the dot"; here every
failure before the dot is provably harmless. One recipient per transaction, so there is no partial acceptance.
"""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable

from services.mailer.outcome import NotHandedOver, Outcome, Stage, judge_reply, judge_trouble
from services.mailer.smtp_conversation import ConnectionTrouble, SmtpConversation
from shared.domain.mail_addresses import ascii_domain_address
from shared.records import record

#: Commits the intent to send (T2); without its yes no dot is written.
BeforeDot = Callable[[], Awaitable[bool]]

_BARE_END = re.compile(rb"(?<!\r)\n|\r(?!\n)")


@record
class Envelope:
    """The three commands before the body."""

    mail: bytes
    rcpt: bytes
    data: bytes = b"DATA\r\n"


def envelope(envelope_from: str, recipient: str, mail: bytes, *, smtputf8: bool) -> Envelope | str:
    """The commands, or why these addresses or this mail's head cannot be written over this connection (S6, S9)."""
    sender, receiver = ascii_domain_address(envelope_from), ascii_domain_address(recipient)
    if wrong := _cannot_be_written(sender) or _cannot_be_written(receiver):
        return wrong
    # A letter with a return path of its own names its sender in the head alone; bodies are never looked at.
    head = mail[: max(mail.find(b"\r\n\r\n"), 0)]
    international = not (head.isascii() and sender.isascii() and receiver.isascii())
    if international and not smtputf8:
        return "smtputf8: an address is not ASCII, and the mail server takes no others"
    option = " SMTPUTF8" if international else ""
    return Envelope(f"MAIL FROM:<{sender}>{option}\r\n".encode(), f"RCPT TO:<{receiver}>\r\n".encode())


def _cannot_be_written(address: str) -> str | None:
    if "<" in address or ">" in address or " " in address or not address.isprintable():
        return "forbidden characters in a mail address"
    return None if 0 < address.find("@") < len(address) - 1 else "incomplete mail address"


def wire_form(mail: bytes) -> bytes:
    """The mail as DATA carries it: CRLF only, dots doubled, ending in CRLF - nothing can end it early (S7)."""
    # What is left has a line end of its own only if one is bare; counting all of them costs three times as much.
    rest = mail.replace(b"\r\n", b"")
    if b"\n" in rest or b"\r" in rest:
        mail = _BARE_END.sub(b"\r\n", mail)
    if not mail.endswith(b"\r\n"):
        mail += b"\r\n"
    mail = mail.replace(b"\r\n.", b"\r\n..")
    return b"." + mail if mail.startswith(b".") else mail


class Transaction:
    """One try at one mail. `run` never raises for what the server or the network does.

    `begun`: its envelope is written already. `behind_dot`: what goes with its dot, of the next mail.
    """

    def __init__(
        self,
        conversation: SmtpConversation,
        *,
        pipelining: bool,
        timeout: float,
        final_timeout: float,
        reply_lease: float,
        begun: bool = False,
        behind_dot: Callable[[], bytes] | None = None,
    ) -> None:
        self._conversation, self._pipelining = conversation, pipelining
        self._begun, self._behind_dot = begun, behind_dot
        self._timeout, self._final_timeout, self._reply_lease = timeout, final_timeout, reply_lease
        self._stage = Stage.MAIL
        self._refusal: Outcome | None = None
        #: Whether T2 was asked for: the envelope was accepted, and the body is written.
        self.asked = False
        #: Seconds until the dot was answered, if it was.
        self.answered_after = 0.0
        self._shifted = False

    @property
    def refused_itself(self) -> bool:
        """Whether it was refused past MAIL, whose answer may be one too many of a mail before it."""
        return self._refusal is not None and self._stage is not Stage.MAIL and not self._shifted

    async def run(self, commands: Envelope, mail: bytes, before_dot: BeforeDot) -> Outcome | NotHandedOver:
        """Sends the mail; only a yes of `before_dot` lets the final dot be written.

        Cancelled after the dot it still returns its outcome, `Unclear`, so that it can be recorded; the cancellation
        is raised at the caller's next await. Before the dot a cancellation is raised at once: nothing was handed over.
        """
        try:
            self._conversation.limit(self._timeout)
            refusal = await self._say_envelope(commands) or await self._write_body(mail)
            self._conversation.limit(None)
            if refusal is not None:
                return refusal
            self.asked, asked_at = True, time.monotonic()
            if not await before_dot():
                self._conversation.abort()
                return NotHandedOver("not granted before the final dot")
            early = self._spoken_early()
            if early is None and time.monotonic() - asked_at >= self._reply_lease:
                # This process stood still (SIGSTOP, a paused machine): others may have judged the letter since (I11).
                self._conversation.abort()
                return judge_trouble(self._stage, "stopped for too long before the final dot")
            return early or await self._finish()
        except ConnectionTrouble as exc:
            return self._refusal or judge_trouble(self._stage, str(exc))
        except TimeoutError:
            return self._refusal or judge_trouble(self._stage, f"no answer within {self._limit:g} seconds")
        finally:
            self._conversation.limit(None)

    @property
    def _limit(self) -> float:
        return self._final_timeout if self._stage is Stage.DOT else self._timeout

    async def _say_envelope(self, commands: Envelope) -> Outcome | None:
        """MAIL, RCPT, DATA; the first refusal wins."""
        steps = ((Stage.MAIL, commands.mail), (Stage.RCPT, commands.rcpt), (Stage.DATA, commands.data))
        if self._pipelining and not self._begun:
            self._conversation.write(commands.mail + commands.rcpt + commands.data)
        for stage, command in steps:
            if not self._pipelining:
                self._conversation.write(command)
            if self._refusal is None:
                self._stage = stage
            reply = await self._conversation.reply()
            if self._refusal is None:
                self._refusal = judge_reply(stage, reply)
                if self._refusal is not None and not self._pipelining:
                    break
            elif stage is Stage.DATA and reply.code < 300:
                # No server accepts DATA so: it is the answer to a command before.
                self._shifted = True
            elif stage is Stage.DATA and reply.code == 354:
                # The server waits for a body without a recipient: only closing ends that without a dot.
                self._conversation.abort()
        return self._refusal

    async def _write_body(self, mail: bytes) -> Outcome | None:
        self._stage = Stage.BODY
        self._conversation.write(wire_form(mail))
        await self._conversation.drain()
        return self._spoken_early()

    def _spoken_early(self) -> Outcome | None:
        """What the server said before the dot, which must not be taken for the answer to it."""
        if not self._conversation.has_spoken:
            return None
        reply = self._conversation.spoken_reply()
        self._conversation.abort()
        verdict = judge_reply(Stage.BODY, reply) if reply else None
        return verdict or judge_trouble(Stage.BODY, "the server spoke before the final dot")

    async def _finish(self) -> Outcome:
        self._conversation.write(b".\r\n" + self._behind_dot() if self._behind_dot is not None else b".\r\n")
        # From here on the server may have the letter.
        self._stage = Stage.DOT
        self._conversation.limit(self._final_timeout)
        written_at = time.monotonic()
        try:
            reply = await self._conversation.reply()
            self.answered_after = time.monotonic() - written_at
        except asyncio.CancelledError:
            cancel_again()
            answer = self._conversation.spoken_reply()
            if answer is None:
                return judge_trouble(Stage.DOT, "cancelled while waiting")
            reply = answer
        return judge_reply(Stage.DOT, reply) or judge_trouble(Stage.DOT, f"unusable reply {reply.code}")


def cancel_again() -> None:
    """Puts a cancellation off to the next await of the running task."""
    task = asyncio.current_task()
    if task is not None:
        task.uncancel()
        task.cancel()
