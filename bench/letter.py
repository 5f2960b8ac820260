"""The letter that everybody sends: some 4 KB as a mail, with text and HTML, written from an applicant's data."""

SUBJECT = "Ihre Bewerbung als {{ application.vacancy }}"

_PARAGRAPHS = (
    "Ihre Bewerbung ist nicht vergessen. Wir sind noch im Auswahlverfahren und melden uns, sobald es Neues gibt.",
    "Bis dahin bitten wir Sie um etwas Geduld: Jede Bewerbung wird von Menschen gelesen, und das braucht seine Zeit.",
    "Sollten sich Ihre Adresse, Ihre Telefonnummer oder Ihre Pläne ändern, so antworten Sie einfach auf diesen Brief.",
    "Auf unserer Seite finden Sie auch alle anderen offenen Stellen, und eine Bewerbung gilt auf Wunsch für mehrere.",
    "Fragen beantwortet Ihnen gern Ihre Ansprechpartnerin oder Ihr Ansprechpartner, telefonisch oder auf diesem Weg.",
    "Ihre Unterlagen bewahren wir sorgfältig auf; wer sie sehen darf, steht in unseren Hinweisen zum Datenschutz.",
    "Wenn Sie keine Nachrichten dieser Art mehr wünschen, so genügt uns ein kurzer Hinweis, und wir halten uns daran.",
    "Gern dürfen Sie uns auch weiterempfehlen: Wir suchen immer wieder Menschen, die ihr Handwerk gern ausüben.",
    "Wir danken Ihnen herzlich für Ihr Interesse an unserem Hause und wünschen Ihnen bis dahin alles Gute.",
)

TEXT = (
    "{{ salutation_line }},\n\n"
    + "".join(f"{one}\n\n" for one in _PARAGRAPHS)
    + "Mit freundlichen Grüßen\n{{ sender.display_name }}\n"
)

HTML = (
    '<html><body style="font-family: sans-serif">\n<p>{{ salutation_line }},</p>\n'
    + "".join(f'<p style="margin: 0 0 12px 0; line-height: 1.4; color: #222222">{one}</p>\n' for one in _PARAGRAPHS)
    + "<p>Mit freundlichen Grüßen<br>{{ sender.display_name }}</p>\n</body></html>\n"
)
