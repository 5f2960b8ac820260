"""The operators' console: what goes out next, to whom, why, and how to stop it.

Consumes: nothing from the queues; requests of signed-in people.
Publishes: nothing; it writes rows through the functions that the command line uses, and the scheduler's tick rings.
Owns: `console_sessions`, and pages in German and English.
On failure: an error beside the field or a page that says what happened; nothing is half done.
Safe twice: every change is one transaction of the service functions; any number of consoles may run, but a file that
    was checked is imported by the console that took it.
"""
