"""The mailbox reader: what comes back from letters.

Consumes: mails, from a mailbox (IMAP) or one by one from a mail server's pipe (`kontaktpflege mailbox deliver`).
Publishes: nothing, and never a mail.
Owns: `returned_mails`; the addresses that were given up; the mailbox and its folders.
On failure: the mail stays where it is, or with the mail server (exit code 75), and is read again.
Safe twice: a mail is known by its fingerprint; its effect is committed before it is moved.
"""
