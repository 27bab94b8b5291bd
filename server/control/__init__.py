"""The control plane: the admin API over the record, publishing, and telling hosts of it."""
