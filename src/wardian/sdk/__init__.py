"""The Python interface: what `import wardian` gives."""
