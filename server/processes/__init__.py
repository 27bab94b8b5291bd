"""The processes of one server: a supervisor, an agent that publishes, workers that answer."""
