"""Tests of the worker sources, run by a framework's own interpreter, in this folder's parent.

`python -m unittest discover -s tests -t . -p 'test_pytorch*.py'`, and the same with
`test_tensorflow*.py` by TensorFlow's. `test_shared*.py` needs no framework and runs in either.
"""
