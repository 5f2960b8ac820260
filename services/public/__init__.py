"""The candidates' page: what contact care may be for whoever has a letter's link, without signing in.

Consumes: nothing from the queues; requests from anywhere in the world.
Publishes: nothing; it writes rows through the functions that the command line uses.
Owns: pages in German and English for the links of `shared/public_links.py`: below /p/ what contact care may be, below
    /consent/ the answers to a consent letter.
On failure: a page that says what happened; nothing is half done. What is no genuine link is refused with one page,
    whatever it is.
After a restore: what was said since the backup is said again, from this machine's disk (said.py).
Safe twice: GET and HEAD change nothing; every POST is one transaction, and said again it changes nothing.
"""
