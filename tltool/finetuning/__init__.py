"""What trains, when, and how fast."""
