"""Real servers for the tests: finds or starts RabbitMQ and PostgreSQL, on loopback, apart from everything else."""
