"""The command line `kontaktpflege`, and with the composition root the only code that sees more than one service."""
