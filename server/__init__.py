"""All the I/O there is: the HTTP planes, the folder of tenants, keys, and the command `burgee`."""
