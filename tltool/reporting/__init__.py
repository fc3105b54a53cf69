"""What runs achieved, as one HTML page that needs no account and no network."""
