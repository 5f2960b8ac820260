"""What the rules say in English with values in their sentences: pattern of the text, and the message it becomes.

Texts without values need no pattern: the catalog has them as they are. A test walks all refusals of the service
functions (tests/architecture/test_refusals.py).
"""

import re

#: What a group of this name holds is looked up as a code name; `rest` is a text of the rules itself.
CODES, REST = ("noun", "state", "meta", "right", "needed"), "rest"
#: Records by the nouns that the rules use.
NOUNS = {
    "application": "application",
    "attachment": "attachment",
    "job": "job",
    "layout": "letter layout",
    "letter": "form letter",
    "mail": "e-mail",
    "order": "write order",
    "page": "page",
    "query": "query",
    "record": "record",
    "request": "request of a candidate",
    "status": "status",
    "user": "user",
}
METAS = {"hired": "hired", "rejected": "rejected"}

_SENTENCES: tuple[tuple[str, str], ...] = (
    # Ends that any sentence may have.
    (r"(?P<rest>.+); did you mean ['\"]?(?P<near>.+?)['\"]?\?", "%(rest)s; did you mean %(near)s?"),
    (r"(?P<rest>.+); valid are (?P<names>.+)", "%(rest)s; valid are %(names)s"),
    # Reasons that orders and runs keep.
    (r"held: (?P<count>\d+) > (?P<bound>\d+)", "held: %(count)s letters, more than %(bound)s"),
    (r"let go: at most (?P<count>\d+)", "let go: at most %(count)s letters"),
    (r"missed by more than (?P<hours>\S+) hours", "missed by more than %(hours)s hours"),
    (r"placeholder (?P<name>\S+) is empty", "placeholder %(name)s is empty"),
    (r"resend stopped: (?P<rest>.+)", "not sent again: %(rest)s"),
    (r"stopped: (?P<rest>.+)", "stopped: %(rest)s"),
    (r"given back: (?P<rest>.+)", "given back: %(rest)s"),
    (r"failed: (?P<rest>.+)", "failed: %(rest)s"),
    (r"expired; last: (?P<rest>.+)", "expired; last: %(rest)s"),
    (r"late: (?P<rest>.+)", "too late: %(rest)s"),
    (r"handed over to the mail server, answer unknown: (?P<rest>.+)",
     "handed over to the mail server, answer unknown: %(rest)s"),
    (r"internal error: (?P<why>.+)", "internal error (%(why)s)"),
    (r"this machine: (?P<why>.+)", "trouble on the machine of the mailer (%(why)s)"),
    (r"(?P<relay>.+) did not take the test letter: (?P<why>.+)", "it did not take the test letter (%(why)s)"),
    (r"settled as (?P<state>sent|failed) by (?P<who>.+)", "decided by %(who)s: %(state)s"),
    (r"waits: rate limit of (?P<domain>.+)", "waits: not more letters a second go to %(domain)s"),
    (r"e-mail address is not valid: (?P<address>.+)", "e-mail address is not valid: %(address)s"),
    (r"letters come back from (?P<address>.+)", "letters come back from %(address)s"),
    (r"letter came back: (?P<said>.+)", "a letter came back (%(said)s)"),
    (r"(?P<count>\d+) letters in a row came back: (?P<said>.+)", "%(count)s letters in a row came back (%(said)s)"),
    (
        r"no letter to the person of application (?P<name>.+) has come back",
        "no letter to the person of application %(name)s has come back",
    ),
    (r"(?P<rest>was blocked already|is withdrawn); the wider block is stored", "%(rest)s; the wider block is stored"),
    # Rights.
    (
        r"user '(?P<user>.+)' has the right '(?P<right>\w+)'; this needs '(?P<needed>\w+)'",
        "user %(user)s has the right %(right)s; this needs %(needed)s",
    ),
    (r"(?:this change|a new \w+) needs '(?P<needed>admin)', and user ['\"](?P<user>.+)['\"]"
     r" has the right '(?P<right>\w+)'; .+",
     "user %(user)s has the right %(right)s; this needs %(needed)s"),
    # What is not there, or is there already.
    (r"there is no such (?P<noun>.+)", "there is no such %(noun)s"),
    (r"there is no (?P<noun>[\w ]+?) (?P<name>\S.*)", "there is no %(noun)s %(name)s"),
    (r"a job named (?P<name>.*) exists already", "a job named %(name)s exists already"),
    (r"a (?P<noun>.+) of (?:this|the new) name exists already", "another %(noun)s has this name already"),
    (r"is given twice \(first: (?P<first>.+)\)(?:; other languages .+)?", "is given twice (first: %(first)s)"),
    (r"another entry is this one: (?P<other>.+)", "another entry is this one: %(other)s"),
    (r"is given twice in this file; the first row is in line (?P<line>\d+)",
     "is given twice in this file; the first row is in line %(line)s"),
    # Numbers, lengths, lists.
    (r"must be a whole number from (?P<low>\S+) to (?P<high>\S+)", "must be a whole number from %(low)s to %(high)s"),
    (r"must be a whole number between (?P<low>\S+) and (?P<high>\S+)",
     "must be a whole number from %(low)s to %(high)s"),
    (r"must be a number from (?P<low>\S+) to (?P<high>\S+)", "must be a number from %(low)s to %(high)s"),
    (r"must be one of (?P<names>.+)", "must be one of %(names)s"),
    (r"one of setup, (?P<names>.+)", "must be one of %(names)s"),
    (r"the ending must be one of (?P<names>.+)", "the ending must be one of %(names)s"),
    (r"is longer than (?P<count>\d+) characters", "is longer than %(count)s characters"),
    (r"the line is longer than (?P<count>\S+) MiB", "the line is longer than %(count)s MiB"),
    (r"must have (?P<low>\S+) to (?P<high>\S+) characters", "must have %(low)s to %(high)s characters"),
    (r"must have (?P<low>\S+) to (?P<high>\S+) bytes", "must have %(low)s to %(high)s bytes"),
    (r"request (?P<id>\d+) is done already", "this request is done already"),
    (r"write at most (?P<count>\d+) characters", "write at most %(count)s characters"),
    (r"the file's name may have (?P<count>\S+) characters", "the file's name may have %(count)s characters"),
    (r"name the custom field with 1 to (?P<count>\S+) characters",
     "name the custom field with 1 to %(count)s characters"),
    (r"needs (?P<names>(?!html).+)", "needs %(names)s"),
    # Files.
    (r"the separator is a (?P<name>\w+), it must .+", "the separator must be a comma; save the file with commas"),
    (r"has (?P<count>\S+) cells, the header has (?P<header>\S+)",
     "has %(count)s cells, the header has %(header)s"),
    (r"is not a JSON object of plain values: (?P<why>.+)", "is not a JSON object of plain values (%(why)s)"),
    (r"cannot be read: (?P<why>.+)", "cannot be read (%(why)s)"),
    (r"cannot be written: (?P<why>.+)", "cannot be written (%(why)s)"),
    # Jobs, persons, orders.
    (r"job (?P<job>.+) is Aus; set status=An first, nothing was sent",
     "the job %(job)s is off; switch it on first, nothing was sent"),
    (r"user (?P<name>.+) is locked; an administrator can unlock them",
     "user %(name)s is locked; an administrator can unlock them"),
    (r"job (?P<job>.+) has no held dispatch", "no dispatch of the job %(job)s is held"),
    (r"the person of application (?P<number>.+) has no block for all jobs", "the person has no block for all jobs"),
    (r"the person of application (?P<number>.+) has no block for job (?P<job>.+)",
     "the person has no block for the job %(job)s"),
    (r"application (?P<number>.+) is reduced to core data: nothing can be written to it",
     "the application %(number)s is reduced to core data: nothing can be written to it"),
    (r"application (?P<number>.+) is (?P<meta>\w+) already: there is nothing to reject",
     "the application %(number)s is %(meta)s already: there is nothing to reject"),
    (r"sets (?:no status|a status that is .+?); .+ needs .+",
     "this letter does not fit: the status that it sets is another one; choose one that is offered"),
    (r"order \S+ is (?P<state>\w+), not blocked", "the letter is %(state)s, not blocked"),
    (r"order \S+ is (?P<state>\w+), not unclear", "the letter is %(state)s, not unclear"),
    (r"order \S+ is not unclear any more", "the letter is not unclear any more"),
    (r"order \S+ is (?P<state>\w+); only failed and no_address orders can be tried again(?:; `order settle` .+)?",
     "the letter is %(state)s; only failed letters and those without an address can be tried again"),
    (r"order (?P<id>\S+) of the same person and job is under way; .+",
     "letter %(id)s of the same person and job is under way; try again when it has ended"),
    (r"order (?P<id>\S+) of the same person, job and day is sent or unclear; .+",
     "letter %(id)s of the same person, job and day is sent or unclear; there is no second one"),
    (r"order \S+: its job was deleted, nothing more is sent for it",
     "its job was deleted: nothing more is sent for it"),
    (r"must have the meta status rejected, not (?P<meta>\w+)", "the status must be one that rejects"),
    (r"must be \{answer_days: 30, status: NAME\}, .+", "give the days to answer, and a status that rejects"),
    (r"job (?P<name>['\"].+['\"]) rejects with it for want of consent; .+",
     "the job %(name)s rejects with this status; give it another one first"),
    (r"(?P<count>\d+) open consent questions reject with it; .+",
     "%(count)s open questions of consent reject with this status; wait until they are answered or over"),
    # Letters.
    (r"write \{\{ (?P<name>\S+) \}\} into its (?P<part>\w+) \((?P<language>\w+)\): the job asks for consent",
     "this letter lacks %(name)s in its part %(part)s (%(language)s); a letter that asks for consent needs it"),
    (r"take \{\{ (?P<name>\S+) \}\} out, or give the job `consent`: it asks for none",
     "this letter names %(name)s, which leads nowhere: the job asks for no consent"),
    (r"attachment (?P<name>.+) exists with other content; .+",
     "an attachment named %(name)s exists with other content; a stored file never changes"),
    (r"attachment (?P<name>.+) belongs to a version of letter (?P<letter>.+); it is kept for it",
     "the attachment %(name)s belongs to a version of the letter %(letter)s and is kept for it"),
    (r"make (?P<size>\S+) bytes together; at most (?P<most>\S+) are sent with one letter",
     "make %(size)s bytes together; at most %(most)s go with one letter"),
    (r"unknown placeholder (?P<name>.+?)(?:; see `.+)?", "unknown placeholder %(name)s"),
    (r"unknown filter (?P<name>.+)", "unknown filter %(name)s"),
    (r"the filter (?P<name>\S+) takes no such arguments", "the filter %(name)s takes no such arguments"),
    (r"the style rules cannot be read: (?P<why>.+)", "the style rules cannot be read (%(why)s)"),
    (r"a part has at most (?P<count>\S+) characters", "a part has at most %(count)s characters"),
    (r"a part has at most (?P<count>\S+) tests", "a part has at most %(count)s tests"),
    (r"a part has at most (?P<count>\S+) placeholders", "a part has at most %(count)s placeholders"),
    (r"give a list of 1 to (?P<count>\S+) texts in quotes", "give a list of 1 to %(count)s texts in quotes"),
    (r"nested more than (?P<count>\S+) deep; write it simpler", "nested more than %(count)s deep; write it simpler"),
    (r"does not work with sample values: (?P<why>.+)", "does not work with sample values: %(why)s"),
    # A refused input with its place, as a run that could not be evaluated keeps it.
    (r"[^:]+: (?P<value>'[^']*'|\"[^\"]*\"|\d+): (?P<rest>.+)", "%(value)s: %(rest)s"),
    # What lies outside.
    (r".+ cannot be reached: .+", "a server that is needed cannot be reached; try again in a moment"),
)  # fmt: skip
REFUSALS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.DOTALL), message) for pattern, message in _SENTENCES
)
