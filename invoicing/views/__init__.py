"""What operators do in the browser: the dashboard, bill runs and invoices."""
