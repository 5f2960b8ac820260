"""Guards of a letter that is begun behind the one before it, and of its T2."""

from tests.failure.guard import guard as _guard

_LANE, _SMTP, _MAILER = "services/mailer/lane.py", "services/mailer/smtp.py", "services/mailer/service.py"
_TEST, _FAULTS = "tests/services/test_lane.py", "tests/services/test_smtp_failures.py"

LANE_GUARDS = (
    _guard(
        "the dot is written apart from the body",
        "I5",
        "services/mailer/smtp_transaction.py",
        "self._conversation.write(wire_form(mail))",
        'self._conversation.write(wire_form(mail) + b".\\r\\n")',
        f"{_FAULTS}::test_i5_without_a_yes_no_dot_is_written",
    ),
    _guard(
        "no T2 for a sender that was cancelled meanwhile",
        "I5",
        "services/mailer/group_commit.py",
        " if not (isinstance(then, asyncio.Future) and then.done())]",
        "]",
        "tests/unit/test_group_commit.py::test_i5_nothing_is_committed_for_whoever_gave_up_before",
    ),
    _guard(
        "an envelope is for the letter it was written for",
        "I10",
        _LANE,
        "        if content is mail:\n",
        "        if True:\n",
        f"{_TEST}::test_i10_what_was_begun_for_another_letter_is_closed_without_a_dot",
    ),
    _guard(
        "an answer too many is no verdict on the letter behind",
        "I14",
        _SMTP,
        "        if begun and not transaction.asked and",
        "        if False and",
        f"{_TEST}::test_i14_what_a_server_says_out_of_step_is_no_verdict_on_the_letter_behind",
    ),
    _guard(
        "a letter behind a slow one is for whoever is free",
        "I15",
        _LANE,
        "        if (late := self._lanes.take_overdue()) is not None:\n",
        "        if (late := None) is not None:\n",
        f"{_TEST}::test_i15_a_letter_behind_a_slow_one_is_for_whoever_is_free",
    ),
    _guard(
        "a mailer that ends gives back what waits in lanes",
        "I19",
        _MAILER,
        "        left.extend(lanes.take_back())\n",
        "",
        "tests/services/test_stopping.py::test_i19_c8_what_waits_behind_another_letter_is_given_back_at_the_end",
    ),
)
