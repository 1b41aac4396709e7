"""What a training run needs and how long it takes, before anything is bought or started."""
