"""What the services share: settings, the bus, the database and the rules of the domain."""
