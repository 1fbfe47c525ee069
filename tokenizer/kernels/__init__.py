"""Hold the Numba kernels of counting, merging and encoding; import the modules, not the package.

Each kernel releases the GIL and is compiled once per machine, then loaded from Numba's cache.
"""
