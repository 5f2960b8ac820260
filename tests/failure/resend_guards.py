"""Guards of what is sent again, and of what a lost answer leaves behind."""

from tests.failure.guard import guard as _guard

_HOLD = "tests/services/test_hold.py"

RESEND_GUARDS = (
    _guard(
        "a resend that is refused leaves the letter unclear",
        "I4",
        "shared/db/write_orders/outcomes.py",
        "        if one.order_id in unknown:\n",
        "        if False:\n",
        "tests/services/test_decisions.py::test_d37_i4_a_resend_that_is_refused_for_good_leaves_the_letter_unclear",
    ),
    _guard(
        "only jobs that say so resend by themselves",
        "I3",
        "shared/db/write_orders/upkeep.py",
        'job.on_unclear == "resend", ',
        "",
        "tests/services/test_delivery.py::test_i4_a_lost_hand_over_is_unclear_and_never_resent_by_itself",
    ),
    _guard(
        "a claim without an answer is asked for again",
        "I18",
        "shared/db/write_orders/claims.py",
        "    if who.earlier_bases:\n",
        "    if False:\n",
        "tests/services/test_handing_over.py::test_i18_c25_a_lost_answer_to_t1_is_asked_for_again",
    ),
    _guard(
        "a claim that the database knows is no hand-over that it knows",
        "I3",
        "shared/db/holds.py",
        ", _T.handed_over_at.is_not(None)",
        "",
        f"{_HOLD}::test_c27_a_replica_with_the_claim_and_without_the_hand_over_is_noticed_at_the_next_claim",
    ),
    _guard(
        "a new connection may lead to a database that forgot",
        "I3",
        "services/mailer/high_water.py",
        "        if connections_made == self._asked_at:\n",
        "        if True:\n",
        f"{_HOLD}::test_c27_a_replica_without_the_last_hand_over_is_noticed_before_the_next_one",
    ),
)
