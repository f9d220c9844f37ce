from setuptools import setup

setup(name="helper", version="0.1")
