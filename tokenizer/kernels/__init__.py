"""The Numba kernels that count pretokens, train merges and encode; nothing here needs other rooms.

Each kernel releases the GIL. It is compiled once per machine, then loaded from Numba's cache.
"""
