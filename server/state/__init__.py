"""What is on disk: snapshots and the journal that says which of them are served, and each process's view of it."""
