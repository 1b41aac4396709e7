"""The CWM architecture: training, checkpoints and generation."""
