"""Many heads on one backbone: trained together, and their differences judged."""
