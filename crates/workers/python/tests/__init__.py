"""Tests of the worker sources, run by each framework's interpreter with unittest."""
