"""Stands for the package that carries MiniLM, without its weights."""
