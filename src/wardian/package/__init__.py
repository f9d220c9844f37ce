"""Fetches, verifies and keeps artifacts; knows what is in them."""
