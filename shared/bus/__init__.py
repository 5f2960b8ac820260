"""The message bus: doorbells that carry ids between the services (the database row is the truth)."""
