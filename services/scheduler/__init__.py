"""The scheduler: the only clock. Finds what is due and rings; looks after what was lost.

Consumes: nothing (it reads rows).
Publishes: JobDue for runs to be synchronised; WriteOrderReady for queued orders without a doorbell.
Owns: recording runs, leases that ran out, expiry, manual orders at their time, queue depths as rows.
On failure: a step that fails is logged and repeated; nothing is kept in memory.
Safe twice: any number may run; unique keys and SKIP LOCKED share the work, a doubled doorbell is harmless.
"""
