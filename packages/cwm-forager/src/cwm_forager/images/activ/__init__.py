"""GitHub Actions without GitHub: a workflow's job as a shell script."""
