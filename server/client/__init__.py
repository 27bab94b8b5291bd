"""The admin API as the command line asks it.

`address.py` where and with which key, `connection.py` one request, `control.py` requests that are tried again safely,
`problems.py` what is said when it refuses. `folder.py`, `difference.py` and `plan.py` are the folder of documents.
"""
