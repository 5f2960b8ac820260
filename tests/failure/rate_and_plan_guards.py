"""Guards of rates, and those that keep a plan complete although only changed people are looked at."""

from tests.failure.guard import guard as _guard

_CHANGED, _LOG = "tests/services/test_changed_people.py", "tests/services/test_people_log.py"

RATE_AND_PLAN_GUARDS = (
    _guard(
        "a slot that has passed is not made up for",
        "I16",
        "services/mailer/pace.py",
        "            if self._clock.now() - at <= LATE:\n",
        "            if True:\n",
        "tests/services/test_send_rates.py::test_i16_mailers_that_stood_still_do_not_catch_up_side_by_side",
    ),
    _guard(
        "the send moment looks at everybody, whatever the log of people says",
        "I1",
        "shared/db/dispatch.py",
        ' and step.now < run["send_at"]:',
        ":",
        f"{_CHANGED}::test_d14_the_send_moment_does_not_rely_on_the_log",
    ),
    _guard(
        "a change that commits late stays in sight of a plan",
        "I1",
        "shared/db/person_changes.py",
        "func.pg_snapshot_xmin(",
        "func.pg_snapshot_xmax(",
        f"{_CHANGED}::test_d14_a_change_that_commits_late_is_not_missed_on_postgresql",
    ),
    _guard(
        "no change is forgotten while somebody looks",
        "I1",
        "shared/db/person_changes.py",
        "    await connection.execute(select(func.pg_advisory_xact_lock_shared(_LOCK)))\n",
        "",
        f"{_LOG}::test_d14_nothing_is_forgotten_under_a_look_on_postgresql",
    ),
)
