"""Stands for the package of that name where the weights of MiniLM are made up."""
