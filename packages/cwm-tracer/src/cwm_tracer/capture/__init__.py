"""Recording executions: limits, the tracer, and what runs inside the traced process.

Nothing is imported here: the traced process loads `recorder`, `values` and their neighbours, which
need the standard library only.
"""
