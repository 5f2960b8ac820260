"""What the evidence file says to people, in German and English."""

from collections.abc import Mapping

INDEX_HEAD = (
    '<!doctype html><html lang="de"><meta charset="utf-8"><title>Auskunft / Information</title>'
    "<h1>Auskunft nach Art. 15 DSGVO / Information under Art. 15 GDPR</h1><p>README.txt</p>"
)
#: Columns of the index.
LETTER_COLUMNS: Mapping[str, str] = {
    "id": "Nr. / No.",
    "application": "Bewerbung / Application",
    "job_name": "Auftrag / Job",
    "letter": "Formschreiben / Form letter",
    "letter_version": "Fassung / Version",
    "state": "Stand / State",
    "sent_at": "Gesendet / Sent",
    "email": "An / To",
    "subject": "Betreff / Subject",
    "configured_by": "Eingerichtet / Configured",
}
#: What the file has of a letter.
STANDING: Mapping[str, str] = {
    "same": "wie versendet / as sent",
    "version": "Wortlaut nicht mehr gespeichert / wording not kept any more",
    "not_sent": "nicht versendet / not sent",
}
