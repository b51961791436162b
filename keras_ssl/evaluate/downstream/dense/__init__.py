"""What feature maps know of each pixel."""
