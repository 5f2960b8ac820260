"""Real servers for the tests: finds or starts RabbitMQ and PostgreSQL, bound to loopback, apart from everything else."""
