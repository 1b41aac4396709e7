"""The CWM architecture: configuration, decoder, initialisation and loss."""
