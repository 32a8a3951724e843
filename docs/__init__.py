"""The manual, and the program that writes a part of it.

guide/       for those who send requests
operate/     for those who run a server
internals/   for those who change the code
reference/   tables of everything, written by `generate.py` from the code
generate.py  `make reference`
bounds.py    the constants for `reference/bounds.md`
"""
