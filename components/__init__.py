"""What a ragstack is made of: settings, plan, hosts, services, database and models.

Dependencies flow one way: hosts, services, database and models may import settings, plan and errors, the last two also
dynamic, and nothing else in this package. Only `__main__.py` knows them all and passes Outputs between them.
"""
