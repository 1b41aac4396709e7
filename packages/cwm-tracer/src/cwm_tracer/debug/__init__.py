"""The debugger: stepping through an execution that was recorded, or that a model predicts."""
