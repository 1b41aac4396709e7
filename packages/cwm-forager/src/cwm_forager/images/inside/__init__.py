"""Files that run inside of images, with nothing but the standard library and pytest."""
