"""What is copied into the sandbox, beside the repository: standard library only, Python 3.8 on.

There the package is named ``_cwm_runtime`` and holds the value renderer of `cwm_tracer.capture`,
too.
"""
