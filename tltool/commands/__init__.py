"""Commands beside `fit`: one file each, thin."""
