"""What is inside the PostgreSQL server: the vector extension, a database, a schema, and roles that may do no more
than they need.

layout.py        what there should be, as plain values; pure
connect.py       a connection to a server that may still be starting, and what its refusals mean
sql.py           brings all of it about; may run at any time
audit.py         what is missing or too much, as sentences; reads only
passwords.py     whether a stored verifier belongs to a password
resource.py      the Pulumi resource: a thin dynamic provider over sql.py and audit.py
rag_database.py  the database a stack declares: its users' passwords, and the resource that brings it about

Not here: the server's container, memory settings and volumes (services), and the tables, which belong to the
application.
"""
