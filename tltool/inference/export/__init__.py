"""Export: a checkpoint as a file or folder that needs no tltool."""
