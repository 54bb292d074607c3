"""What was charged: bill runs, invoices, posting, documents and delivery."""
