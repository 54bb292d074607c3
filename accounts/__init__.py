"""Who is billed, and what every app needs: accounts, contacts, batches, terms, templates, numbers."""
