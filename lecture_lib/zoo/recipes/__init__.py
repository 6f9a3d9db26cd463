"""One module for a model, or for a few of one kind: `RECIPES`, found by the zoo itself."""
