"""Text to definition and back, one module per format."""
