"""The services of Kontaktpflege: scheduler, evaluator, mailer, and the command line that operates them."""
