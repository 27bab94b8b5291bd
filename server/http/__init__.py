"""Both planes over HTTP: each middleware one class in one file; handlers look things up and call the engine."""
