"""One kind of waste each: its definition, formula, unit and source in the docstring. `registry` lists them in order."""
