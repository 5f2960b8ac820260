"""Queues mails that are written already, as one call of its `send_many` leaves them: `python post_office_fill.py N`."""

import json
import os
import sys

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "post_office_site")
django.setup()

from django.core.management import call_command  # noqa: E402
from jinja2 import Environment  # noqa: E402
from post_office.models import PRIORITY, STATUS, Email  # noqa: E402

if __name__ == "__main__":
    call_command("migrate", verbosity=0)
    environment = Environment(autoescape=False)
    templates = {
        name: environment.from_string(source) for name, source in json.loads(os.environ["PEER_TEMPLATES"]).items()
    }
    mails = []
    for number in range(int(sys.argv[1])):
        values = {
            "salutation_line": f"Sehr geehrte Frau Müller-{number}",
            "application": {"vacancy": "Elektroniker"},
            "sender": {"display_name": "Anna Weber"},
        }
        written = {name: one.render(values) for name, one in templates.items()}
        mails.append(
            Email(
                from_email="Personalabteilung <hr@firma.example>",
                to=[f"a{number}@b.example"],
                subject=written["subject"],
                message=written["text"],
                html_message=written["html"],
                status=STATUS.queued,
                priority=PRIORITY.medium,
            )
        )
    Email.objects.all().delete()
    Email.objects.bulk_create(mails, batch_size=1000)
