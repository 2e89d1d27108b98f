"""One report model, and one file for each form that it is rendered in. The forms compute nothing."""
