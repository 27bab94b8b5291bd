"""What makes the schema, step by step: one revision, one file, in the order of their numbers. They only add (ADR 0014).

`python -m server.record.next_revision` prints what the next revision has to do for `server/record/tables.py`.
"""
