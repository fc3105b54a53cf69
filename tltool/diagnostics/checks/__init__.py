"""Sanity checks of data and model before a long run, as `tltool doctor` does them."""
