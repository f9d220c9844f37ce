"""Names, versions, labels and the records of everything, over SQL."""
