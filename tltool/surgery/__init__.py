"""In-place edits of any module: one traversal, and a report of what each edit changed."""
