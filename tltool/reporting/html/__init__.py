"""Pages that are one file: Jinja2 templates, and images inside them."""
