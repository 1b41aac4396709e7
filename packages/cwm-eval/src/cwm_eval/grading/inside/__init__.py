"""What runs inside the sandbox: standard library only, never imported by the grading process.

`wire` and `channel` are the exception: both sides speak them.
"""
