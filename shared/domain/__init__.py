"""The rules of the domain as pure functions and values: no I/O, nothing of ours imported but errors."""
