"""Letters that a lost mailer leaves behind, in the database of a running console."""

import sqlite3

from tests.browser.site import Site


def leave_unclear(site: Site, count: int) -> list[int]:
    """So many planned letters that were handed over a day before and whose answer is missing; their ids."""
    with sqlite3.connect(site.stack.folder / "k.sqlite3", timeout=30) as database:
        sql = "SELECT id FROM write_orders WHERE state = 'planned' ORDER BY id LIMIT ?"
        ids = [int(row[0]) for row in database.execute(sql, (count,))]
        for order_id in ids:
            database.execute(
                "UPDATE write_orders SET state = 'unclear', reason = 'no answer', attempts = 1, message_id = ?,"
                " handed_over_at = planned_for - 86400000000, letter_version = (SELECT version FROM form_letters"
                " WHERE id = letter_id) WHERE id = ?",
                ("<order-test@firma.example>", order_id),
            )
            database.execute(
                "INSERT INTO attempts (order_id, attempt_no, lease_token, mailer, message_id, claimed_at,"
                " handed_over_at, relay, bytes) SELECT id, 1, 900000 + id, 'm', message_id, handed_over_at,"
                " handed_over_at, 'mx.firma.example:25', 1000 FROM write_orders WHERE id = ?",
                (order_id,),
            )
    return ids
