"""What the processes of a run tell one another, through files in its directory."""
