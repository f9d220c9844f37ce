"""Models and endpoints: what serves a model in the environment that trained it."""
