"""The usual script around a Celery task, and the same in its best case. Run by the worker: `celery -A celery_worker`.

PEER_BROKER, PEER_DATABASE, PEER_SMTP_PORT, PEER_TEMPLATES (JSON: subject, text, html), PEER_BEST=1.
"""

import json
import os
import smtplib
from email.message import EmailMessage
from email.utils import formatdate, make_msgid

import psycopg
from celery import Celery
from jinja2 import Environment

BEST = os.environ.get("PEER_BEST") == "1"
_SENDER = "Personalabteilung <hr@firma.example>"

app = Celery("peer", broker=os.environ["PEER_BROKER"])
app.conf.update(
    task_ignore_result=True,
    # Late, as anyone must who wants no letter lost; many at a time, as the documentation recommends for short tasks.
    task_acks_late=True,
    worker_prefetch_multiplier=100 if BEST else 4,
    task_default_queue="letters",
    broker_connection_retry_on_startup=True,
)

_environment = Environment(autoescape=False)
_templates = {
    name: _environment.from_string(source) for name, source in json.loads(os.environ["PEER_TEMPLATES"]).items()
}
_kept: dict[str, object] = {}


def _database() -> psycopg.Connection:
    # One for each process: nobody opens one for each letter.
    if "database" not in _kept:
        _kept["database"] = psycopg.connect(os.environ["PEER_DATABASE"], autocommit=True)
    return _kept["database"]  # type: ignore[return-value]


def _smtp() -> smtplib.SMTP:
    if "smtp" not in _kept:
        _kept["smtp"] = smtplib.SMTP("127.0.0.1", int(os.environ["PEER_SMTP_PORT"]))
    return _kept["smtp"]  # type: ignore[return-value]


@app.task(name="send_letter")
def send_letter(letter_id: int) -> None:
    """One letter: read the row, write the mail, send it, note it."""
    select = "SELECT email, last_name, salutation, vacancy FROM peer_letters WHERE id = %s"
    email, last_name, salutation, vacancy = _database().execute(select, (letter_id,)).fetchone()
    values = {
        "salutation_line": f"Sehr geehrte{'r Herr' if salutation == 'male' else ' Frau'} {last_name}",
        "application": {"vacancy": vacancy},
        "sender": {"display_name": "Anna Weber"},
    }
    subject, text, html = (_templates[name].render(values) for name in ("subject", "text", "html"))
    if BEST:
        _smtp().sendmail("hr@firma.example", [email], _by_hand(email, subject, text, html))
    else:
        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = _SENDER, email, subject
        message["Date"], message["Message-ID"] = formatdate(localtime=True), make_msgid(domain="firma.example")
        message.set_content(text)
        message.add_alternative(html, subtype="html")
        with smtplib.SMTP("127.0.0.1", int(os.environ["PEER_SMTP_PORT"])) as smtp:
            smtp.send_message(message)
    update = "UPDATE peer_letters SET state = 'sent', sent_at = clock_timestamp() WHERE id = %s"
    _database().execute(update, (letter_id,))


def _by_hand(email: str, subject: str, text: str, html: str) -> bytes:
    """No encoding, no folding, no care: the fastest that is a mail at all."""
    head = (
        f"From: {_SENDER}\r\nTo: {email}\r\nSubject: {subject}\r\nDate: {formatdate(localtime=True)}\r\n"
        f"Message-ID: {make_msgid(domain='firma.example')}\r\nMIME-Version: 1.0\r\n"
        'Content-Type: multipart/alternative; boundary="=_peer"\r\n'
    )
    part = "--=_peer\r\nContent-Type: text/{}; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n{}\r\n"
    body = part.format("plain", text) + part.format("html", html) + "--=_peer--\r\n"
    return f"{head}\r\n{body}".encode()
