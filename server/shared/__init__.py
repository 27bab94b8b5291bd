"""Memory that the processes of one server share: where the journal ends, what was counted, what tenants have used."""
