"""The mailer: claims queued orders, composes, sends by SMTP, and records what became of each.

Consumes: WriteOrderReady (an order to be sent).
Publishes: nothing; whoever is put back is rung for by the sweep.
Owns: the claim (T1), the intent (T2) directly before the final dot, the settlement (T3), the local journal.
On failure: before the dot an order goes back and is tried later; after it an unknown answer makes it `unclear`.
Safe twice: only one claim holds an order at a time; a doubled or stale doorbell finds nothing to claim.
"""
