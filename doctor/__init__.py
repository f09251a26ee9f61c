"""`python -m doctor`: looks at a running stack, here or over SSH, with the rules that the program plans and proves by.

Read-only unless `--fix` is given. Every check says what it saw, why that matters, and the command that mends it.
Not here: rules. What fits, which driver is too old and when a model lies wholly on its accelerator is said once, in
`components/plan` and `components/models`, and asked here again.
"""
