"""The targets by name: a new one is a module like the others and a line here."""

from tests.fuzz.console import CONSOLE
from tests.fuzz.imports import IMPORTS
from tests.fuzz.mails import MAILS
from tests.fuzz.messages import MESSAGES
from tests.fuzz.public import PUBLIC
from tests.fuzz.setups import SETUPS

TARGETS = {target.name: target for target in (IMPORTS, SETUPS, MESSAGES, CONSOLE, PUBLIC, MAILS)}
