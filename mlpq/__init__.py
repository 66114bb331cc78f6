"""How a person uses mlpq: Python client, command line, and the supervisor of a local deployment."""
