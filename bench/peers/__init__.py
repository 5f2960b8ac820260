"""What else people use, each run in an environment of its own; nothing of the product is imported here."""
