"""The evaluator: resolves who gets a letter and makes, withdraws and releases write orders.

Consumes: JobDue (a run to be synchronised).
Publishes: WriteOrderReady, one per released order, after the commit.
Owns: the plan of every run and its release (shared.db.dispatch).
On failure: the transaction rolls back whole and the scheduler rings again; an invalid query shows on the run.
Safe twice: runs of one lineage are serialised by its row lock; a second synchronisation finds nothing to do.
"""
