"""What the Makefile's commands do around the program: install, choose a runner, run, prove, print.

Not here: anything the Pulumi program itself needs. `pulumi up` works without a single file of this folder.
"""
