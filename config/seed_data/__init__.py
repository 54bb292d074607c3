"""The demo company “Fjordlight Systems”, and synthetic accounts for load."""
