# /// script
# requires-python = "==3.12.*"
# dependencies = ["numpy==2.1"]
# ///
print()
