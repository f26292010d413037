"""Seven verbs (Osborn's questions, as Eberle ordered them), each of which turns findings into proposals as data.

A verb without evidence proposes nothing, and whatever is proposed here is only proposed.
"""
