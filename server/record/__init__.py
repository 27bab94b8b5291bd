"""The record: tenants, projects, flags, versions, keys and who changed what. SQL, and the truth (ADR 0014)."""
