"""The one exception tree. Each class's docstring is what it means to an operator; the instance names the value."""


class KontaktpflegeError(Exception):
    """Something an operator can understand and act on. Shown as one line, never as a traceback."""


class InvalidInput(KontaktpflegeError):
    """Input that breaks a rule: says the place, the value and what to do. Nothing was changed."""

    def __init__(self, place: str, value: object, fix: str) -> None:
        super().__init__(f"{place}: {value!r}: {fix}")
        self.place, self.value, self.fix = place, value, fix


class InvalidSettings(KontaktpflegeError):
    """The environment or the .env file holds a setting that cannot be used. Nothing was started."""


class NotFound(KontaktpflegeError):
    """No record of that name or id exists."""

    def __init__(self, noun: str, name: object, nearest: str | None = None) -> None:
        hint = f"; did you mean {nearest!r}?" if nearest else ""
        super().__init__(f"there is no {noun} {name!r}{hint}")


class Refused(KontaktpflegeError):
    """The request is understood, and a rule of the domain forbids it. Nothing was changed."""


class Outdated(Refused):
    """What a person confirms is no longer what they were shown. Nothing was changed."""


class Unavailable(KontaktpflegeError):
    """The database, the broker or the mail server cannot be reached; the same call may succeed later."""

    def __init__(self, what: str, address: str, reason: object) -> None:
        super().__init__(f"{what} {address} cannot be reached: {reason}")
        self.what, self.address = what, address


class Conflict(KontaktpflegeError):
    """Two transactions met (deadlock, serialization, lock timeout); the whole transaction may be tried again."""
