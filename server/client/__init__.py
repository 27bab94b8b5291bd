"""The admin API as the command line asks it.

`credentials.py` with which key, `connection.py` one request, `control.py` requests that are tried again safely,
`problems.py` what is said when it refuses. `folder.py` and `writing.py` are the folder of documents, `standing.py`
what the control plane has, `difference.py`, `keys.py` and `plan.py` what differs; `carry_out.py` does it.
"""
