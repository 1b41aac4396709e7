"""Software-engineering tasks: instances, their formats, and the proof that they are sound."""
