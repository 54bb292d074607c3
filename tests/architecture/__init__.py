"""The house rules as tests: layers, purity, wording of files, roles and deployment."""
