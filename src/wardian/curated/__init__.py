"""The catalogue as data: curated environments with their locks, and what reads them."""
