from setuptools import setup

setup(name="extra", version="0.1", extras_require={"cli": ["click"]})
