"""The guards that keep letters from being lost or sent twice: how each is taken out, and the test that notices."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Guard:
    """One guard. `edits` take it out: file, a text that stands there exactly once, what stands there instead."""

    name: str
    invariant: str
    edits: tuple[tuple[str, str, str], ...]
    test: str


_CLAIMS, _OUTCOMES = "shared/db/write_orders/claims.py", "shared/db/write_orders/outcomes.py"
_INTENTS = "shared/db/write_orders/intents.py"
_UPKEEP, _TABLES = "shared/db/write_orders/upkeep.py", "shared/db/tables.py"
_PUBLISHER, _POLICY = "shared/bus/rabbitmq_publisher.py", "services/mailer/outcome.py"
_DELIVER, _MAILER, _SMTP = "services/mailer/deliver.py", "services/mailer/service.py", "services/mailer/smtp.py"
_DELIVERY, _DISPATCH = "tests/services/test_delivery.py", "tests/services/test_dispatch.py"
_OVER, _BROKER = "tests/services/test_handing_over.py", "tests/contract/test_rabbitmq.py"
_CHANGES = f"{_DELIVERY}::test_i8_i9_i10_c52_c53_nothing_is_handed_over_after_a_change"
_LOOK = f"{_DELIVERY}::test_d33_d34_the_last_look_decides_on_current_data"
_TWICE = f"{_OVER}::test_i6_i7_the_database_itself_refuses_what_would_be_sent_twice"
_JOURNAL = f"{_OVER}::test_i20_c26_what_was_accepted_is_in_the_journal_before_t3_and_sent_after_a_crash"
_FAULTS = "tests/services/test_smtp_failures.py"


def _guard(name: str, invariant: str, file: str, old: str, new: str, test: str) -> Guard:
    return Guard(name, invariant, ((file, old, new),), test)


GUARDS = (
    _guard(
        "a publish counts only when it is confirmed",
        "I13",
        _PUBLISHER,
        "                await batch.complete\n",
        "                return [True] * len(messages)\n",
        f"{_BROKER}::test_rabbitmq_c15_c23_answers_false_when_the_queue_refuses",
    ),
    _guard(
        "a refusal of the broker counts as not taken",
        "I13",
        _PUBLISHER,
        "taken = isinstance(method, Basic.Ack)",
        "taken = True",
        f"{_BROKER}::test_rabbitmq_c15_c23_answers_false_when_the_queue_refuses",
    ),
    _guard(
        "messages are mandatory",
        "I13",
        _PUBLISHER,
        "mandatory=True",
        "mandatory=False",
        f"{_BROKER}::test_rabbitmq_c13_answers_false_for_a_message_without_a_queue",
    ),
    _guard(
        "a returned message counts as not taken",
        "I13",
        _PUBLISHER,
        "taken and tag not in self._returned",
        "taken",
        f"{_BROKER}::test_rabbitmq_c13_answers_false_for_a_message_without_a_queue",
    ),
    _guard(
        "a queue takes only its own kind of message",
        "I15",
        "shared/bus/messages.py",
        "if cls is not expected:",
        "if False:",
        "tests/contract/test_bus.py::test_c21_c55_what_cannot_be_read_becomes_a_dead_letter_and_holds_nobody_up",
    ),
    _guard(
        "the evaluator acks after its commit",
        "I13",
        "services/evaluator/evaluate.py",
        "    try:\n        await evaluate(database",
        "    await subscription.ack([delivery])\n    try:\n        await evaluate(database",
        f"{_OVER}::test_i13_a_run_is_not_acked_before_it_is_committed",
    ),
    _guard(
        "the mailer acks after T3",
        "I13",
        _DELIVER,
        "            await asyncio.wait([written])\n",
        "            await asyncio.wait([written])\n            holding.release()\n",
        _JOURNAL,
    ),
    _guard(
        "T1 claims only what is queued",
        "I3",
        _CLAIMS,
        '_O.state == "queued", _O.not_before <= now)',
        '_O.state.in_(("queued", "sending")), _O.not_before <= now)',
        f"{_DELIVERY}::test_i3_two_mailers_never_hold_the_same_order",
    ),
    _guard(
        "T1 claims nothing before its time",
        "I14",
        _CLAIMS,
        '_O.state == "queued", _O.not_before <= now)',
        '_O.state == "queued")',
        f"{_DELIVERY}::test_an_order_before_its_time_is_not_claimed",
    ),
    _guard(
        "the last look asks the query again",
        "I9",
        _CLAIMS,
        "for order_id in ids if order_id not in hold}",
        "for order_id in ids if order_id not in set(ids)}",
        _LOOK,
    ),
    _guard(
        "T1 refuses what is past its validity",
        "I14",
        _CLAIMS,
        '(row["expires_at"] is not None and row["expires_at"] <= now, "withdrawn", "expired")',
        '(False, "withdrawn", "expired")',
        f"{_DELIVERY}::test_i14_an_order_past_its_validity_is_withdrawn_at_its_claim_too",
    ),
    _guard(
        "T1 claims nothing of a job that is off",
        "I8",
        _CLAIMS,
        '(job is not None and job["status"] == "off", "planned", "job is off")',
        '(False, "planned", "job is off")',
        f"{_DELIVERY}::test_d4_a_claim_of_a_job_that_is_off_puts_the_order_back",
    ),
    _guard(
        "five claims without an outcome are poison",
        "I15",
        _CLAIMS,
        'row["fruitless_claims"] >= MOST_FRUITLESS_CLAIMS',
        "False",
        f"{_DELIVERY}::test_i15_an_order_that_is_claimed_again_and_again_without_outcome_ends",
    ),
    _guard(
        "a claim that breaks is tried order by order",
        "I15",
        _MAILER,
        "        if len(ids) == 1:\n            return await _given_up",
        "        raise\n        if len(ids) == 1:\n            return await _given_up",
        "tests/services/test_poison.py",
    ),
    _guard(
        "no dot without T2",
        "I4",
        "services/mailer/smtp_transaction.py",
        "if not await before_dot():",
        "await before_dot()\n            if False:",
        f"{_FAULTS}::test_i5_without_a_yes_no_dot_is_written",
    ),
    _guard(
        "no dot after the reply's lease",
        "I11",
        "services/mailer/smtp_transaction.py",
        "time.monotonic() - asked_at >= self._reply_lease:",
        "time.monotonic() - asked_at < 0:",
        "tests/services/test_stopped_process.py",
    ),
    _guard(
        "the dot is written apart from the body",
        "I5",
        "services/mailer/smtp_transaction.py",
        "self._conversation.write(wire_form(mail))",
        'self._conversation.write(wire_form(mail) + b".\\r\\n")',
        f"{_FAULTS}::test_i5_without_a_yes_no_dot_is_written",
    ),
    _guard(
        "T2 locks the job FOR SHARE",
        "I8",
        "shared/db/job_locks.py",
        ".order_by(_J.id).with_for_update(read=True)",
        ".order_by(_J.id)",
        "tests/services/test_lock_waits.py::test_i8_t2_waits_for_a_switch_to_aus_under_way_on_postgresql",
    ),
    _guard(
        "T2 asks whether the job is on",
        "I8",
        _INTENTS,
        ", unchanged),\n        reachable",
        ", job.id.is_(None) | True),\n        reachable",
        _CHANGES,
    ),
    _guard("T2 compares the job's epoch", "I9", _INTENTS, ", job.epoch == _O.claimed_epoch)", ")", _CHANGES),
    _guard(
        "T2 asks for opt-outs again",
        "I8",
        _INTENTS,
        '        or_(persons.c.opted_out_at.is_(None), _O.type != "contact_job"),\n',
        "",
        _CHANGES,
    ),
    _guard(
        "T2 compares the address",
        "I10",
        _INTENTS,
        "        _A.email == _O.email,\n",
        "",
        f"{_DELIVERY}::test_i10_an_address_changed_by_another_program_is_noticed_before_the_dot",
    ),
    _guard(
        "T2 compares the lease's token",
        "I11",
        _INTENTS,
        "    mine = and_(any_of(_O.id, held), any_of(_O.lease_token, held.values()))\n    job",
        "    mine = any_of(_O.id, held)\n    job",
        f"{_DELIVERY}::test_i11_without_a_valid_lease_nothing_is_handed_over",
    ),
    _guard(
        "T2 asks whether the lease still runs",
        "I11",
        _INTENTS,
        "        _O.lease_until > lease_clock(),\n        or_(",
        "        or_(",
        f"{_DELIVERY}::test_i11_without_a_valid_lease_nothing_is_handed_over",
    ),
    _guard(
        "T3 compares the lease's token",
        "I11",
        _OUTCOMES,
        "        and row.lease_token == one.token\n",
        "",
        f"{_DELIVERY}::test_i11_a_fenced_mailer_s_answer_is_kept_but_moves_nothing",
    ),
    _guard(
        "T3 settles an order once",
        "I6",
        _OUTCOMES,
        '        and row.state in ("sending", "unclear")\n',
        "",
        f"{_DELIVERY}::test_i6_settling_twice_or_late_changes_nothing",
    ),
    _guard("one run for a job and day", "I7", _TABLES, '    UniqueConstraint("job_id", "occasion_day"),\n', "", _TWICE),
    _guard(
        "one order for a person, lineage and day",
        "I6",
        _TABLES,
        '    UniqueConstraint("lineage_id", "person_id", "occasion_day"),\n',
        "",
        _TWICE,
    ),
    _guard(
        "one order of a lineage under way to a person",
        "I6",
        _TABLES,
        "where=_UNDER_WAY, unique=True)",
        "where=_UNDER_WAY, unique=False)",
        _TWICE,
    ),
    _guard(
        "the sweep returns claims that ran out",
        "I18",
        _UPKEEP,
        "update(write_orders).where(before).values(again)",
        "update(write_orders).where(before, _O.id < 0).values(again)",
        f"{_DELIVERY}::test_i5_a_lost_claim_returns_and_is_rung_for_at_once",
    ),
    _guard(
        "a lost hand-over is unclear, not tried again",
        "I4",
        _UPKEEP,
        'before = and_(ran_out, _O.phase == "claimed")',
        "before = ran_out",
        f"{_DELIVERY}::test_i4_a_lost_hand_over_is_unclear_and_never_resent_by_itself",
    ),
    _guard(
        "the sweep rings again for lost doorbells",
        "I13",
        "services/scheduler/sweep.py",
        "        if empty:\n",
        "        if False:\n",
        f"{_DISPATCH}::test_i13_an_order_whose_doorbell_was_lost_is_rung_for_again",
    ),
    _guard(
        "the sweep withdraws what expired",
        "I14",
        _UPKEEP,
        "_O.expires_at <= now, ~_JOB_IS_OFF)",
        "_O.expires_at <= now, _O.id < 0)",
        f"{_DELIVERY}::test_i14_the_sweep_withdraws_what_nobody_claims",
    ),
    _guard(
        "accepted letters stand in the journal before T3",
        "I20",
        _DELIVER,
        'if settlement.state == "sent":',
        "if False:",
        _JOURNAL,
    ),
    _guard("the journal is replayed at the start", "I20", _MAILER, "    if entries:\n", "    if False:\n", _JOURNAL),
    _guard(
        "without a journal no T2",
        "I20",
        _DELIVER,
        "if not self._journal.writable:",
        "if False:",
        f"{_OVER}::test_i20_while_the_journal_cannot_be_written_nothing_is_handed_over",
    ),
    _guard(
        "a sender refused five times in a row fails no more letters",
        "I14",
        _POLICY,
        "    if times_in_a_row < SENDER_REFUSALS:\n",
        "    if True:\n",
        f"{_FAULTS}::test_c36_a_sender_refused_for_everybody_stops_failing_letters",
    ),
    _guard(
        "TLS and AUTH failures fail no order",
        "I14",
        _POLICY,
        '    return Deferred(one_line(f"{failure}: {what}"),',
        '    return Refused(one_line(f"{failure}: {what}")) or Deferred(one_line(f"{failure}: {what}"),',
        "tests/services/test_smtp_tls.py::test_c37_a_wrong_password_fails_no_order",
    ),
    _guard(
        "no answer to the dot is unclear",
        "I4",
        _POLICY,
        "    if stage is Stage.DOT:\n",
        "    if False:\n",
        f"{_FAULTS}::test_c32_c33_c35_c40_c41_c42_i4_i5_i14_every_way_a_server_answers",
    ),
    _guard(
        "nobody hammers a relay that is away",
        "I16",
        _SMTP,
        "if (rest := self._pause.rest) > 0:",
        "if (rest := 0.0) > 0:",
        f"{_FAULTS}::test_i16_c32_while_the_relay_is_away_nobody_hammers_it",
    ),
    _guard(
        "the Message-ID is that of the first attempt",
        "I12",
        _CLAIMS,
        'found.get(row["id"]) or who.message_id',
        "who.message_id",
        f"{_DELIVERY}::test_i12_a_letter_claimed_once_keeps_its_version_date_and_message_id",
    ),
    _guard(
        "the letter's version is that of the first claim",
        "I12",
        _CLAIMS,
        'func.coalesce(_O.letter_version, form_letters.c.version).label("letter_version")',
        'form_letters.c.version.label("letter_version")',
        f"{_DELIVERY}::test_i12_a_letter_claimed_once_keeps_its_version_date_and_message_id",
    ),
    _guard(
        "a resend waits a quarter of an hour",
        "I3",
        "shared/db/write_orders/interventions.py",
        "not_before = max(now, handed_over_at + RESEND_AFTER)",
        "not_before = now",
        "tests/services/test_decisions.py::test_d37_c7_a_resend_waits_a_quarter_of_an_hour_and_is_the_same_letter",
    ),
    _guard(
        "jobs that resend by themselves wait as long",
        "I3",
        _UPKEEP,
        "        _O.handed_over_at < now - wait,\n",
        "",
        "tests/services/test_decisions.py::test_d37_jobs_that_say_so_resend_by_themselves",
    ),
    _guard(
        "a database that forgot what was sent sends nothing",
        "I3",
        "shared/db/holds.py",
        "        if not (await connection.execute(known)).scalar_one():\n",
        "        if False:\n",
        "tests/services/test_hold.py::test_c27_a_database_replaced_in_mid_run_is_noticed_at_the_next_claim",
    ),
    _guard(
        "a T2 without an answer leaves no letter unclear",
        "I5",
        _DELIVER,
        "            self._unanswered_intents |= {one.order.token for one in handings}\n",
        "            pass\n",
        f"{_OVER}::test_i5_c25_a_lost_answer_to_t2_makes_no_letter_unclear",
    ),
    _guard(
        "the intent is granted to a claim, not to an order",
        "I3",
        _DELIVER,
        " and one.order.token == held[one.order.id] for one",
        " for one",
        f"{_OVER}::test_i3_i11_c6_of_two_claims_on_one_order_in_one_group_only_the_living_one_is_granted",
    ),
    _guard(
        "letters wait for their slot",
        "I16",
        _DELIVER,
        "        await self._at_its_slot(holding)\n",
        "",
        "tests/services/test_send_rates.py::test_i16_two_mailers_together_keep_the_rate_after_an_outage",
    ),
)
